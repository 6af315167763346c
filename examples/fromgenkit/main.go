// Command fromgenkit is a small café: it answers questions about its menu, takes orders that
// need a yes above a limit, and grades its own answers. It is written as the documentation of
// Genkit Go shows things; its model is a stand-in that needs no network.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	ai "github.com/genkit-wasm/genkit-wasm/engine"     //nolint:staticcheck // both names stay as they were
	genkit "github.com/genkit-wasm/genkit-wasm/engine" //nolint:staticcheck // both names stay as they were
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// Dish is one line of the menu.
type Dish struct {
	Name  string  `json:"name"`
	Price float64 `json:"price"`
}

// MenuQuestion is the input of the flow that answers.
type MenuQuestion struct {
	Guest    string `json:"guest"`
	Question string `json:"question"`
}

// OrderInput is what the model orders for a guest.
type OrderInput struct {
	Dish  string `json:"dish"`
	Count int    `json:"count"`
}

// Approval is what an order asks when it is large.
type Approval struct {
	Reason string  `json:"reason"`
	Total  float64 `json:"total"`
}

var menu = []Dish{{"tomato soup", 6.5}, {"grilled fish", 14}, {"apple cake", 5}}

func main() {
	if err := run(context.Background()); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("fromgenkit", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	g, err := genkit.New(ctx, genkit.Config{DefaultModel: "cafe/waiter"})
	if err != nil {
		return err
	}
	defineModel(g)
	embedder := defineEmbedder(g)
	evaluator := defineEvaluator(g)

	// Tools: one looks something up, one stops to ask before it spends money.
	prices := genkit.DefineTool(g, "prices", "Lists the dishes and their prices.",
		func(ctx context.Context, input struct{}) ([]Dish, error) {
			return menu, nil
		})
	order := genkit.DefineTool(g, "order", "Orders a dish.",
		func(ctx context.Context, input OrderInput) (string, error) {
			i := slices.IndexFunc(menu, func(d Dish) bool { return d.Name == input.Dish })
			if i < 0 {
				return "", fmt.Errorf("%s is not on the menu", input.Dish)
			}
			total := menu[i].Price * float64(input.Count)
			if total > 20 && !tool.IsResumed(ctx) {
				return "", tool.InterruptWith(Approval{Reason: "expensive", Total: total})
			}
			return fmt.Sprintf("%d x %s, %.2f in all", input.Count, input.Dish, total), nil
		})

	// A prompt with typed input, and one with typed output too.
	greeting := genkit.DefinePrompt(g, "greeting",
		ai.WithDescription("Greets a guest."),
		ai.WithInputType(MenuQuestion{Guest: "guest"}),
		ai.WithSystem("You are a waiter."),
		ai.WithPrompt("Greet {{guest}}."),
	)
	suggestion := genkit.DefineDataPrompt[MenuQuestion, Dish](g, "suggestion",
		ai.WithPrompt("Suggest a dish to {{guest}} as JSON: {{question}}"),
	)

	// A flow with a step, retrieval and a tool.
	answer := genkit.DefineFlow(g, "answer", func(ctx context.Context, in MenuQuestion) (string, error) {
		doc, err := genkit.Run(ctx, "find", func(ctx context.Context) (ai.Document, error) {
			return nearest(ctx, g, embedder, in.Question)
		})
		if err != nil {
			return "", err
		}
		return genkit.GenerateText(ctx, g,
			ai.WithSystem("You are a waiter. The guest is %s.", in.Guest),
			ai.WithPrompt(in.Question),
			ai.WithDocs(doc),
			ai.WithTools(prices),
		)
	})

	// A flow that streams.
	story := genkit.DefineStreamingFlow(g, "story", func(ctx context.Context, subject string, send func(string) error) (int, error) {
		words := 0
		for value, err := range genkit.GenerateStream(ctx, g, ai.WithPrompt("Tell a story about %s.", subject)) {
			if err != nil {
				return 0, err
			}
			if value.Done {
				return words, nil
			}
			words += len(strings.Fields(value.Chunk.Text()))
			if err := send(value.Chunk.Text()); err != nil {
				return 0, err
			}
		}
		return words, nil
	})

	text, err := answer.Run(ctx, MenuQuestion{Guest: "Ann", Question: "Do you have soup?"})
	if err != nil {
		return err
	}
	fmt.Println("answer:", text)

	resp, err := greeting.Execute(ctx, ai.WithInput(MenuQuestion{Guest: "Bob"}))
	if err != nil {
		return err
	}
	fmt.Println("greeting:", resp.Text())

	dish, _, err := suggestion.Execute(ctx, MenuQuestion{Guest: "Cat", Question: "something sweet"})
	if err != nil {
		return err
	}
	fmt.Printf("suggestion: %s for %.2f\n", dish.Name, dish.Price)

	for value, err := range story.Stream(ctx, "a whale") {
		if err != nil {
			return err
		}
		if value.Done {
			fmt.Println("story:", value.Output, "words")
		}
	}

	// An interrupted order: the guest says yes, and the tool is restarted.
	resp, err = genkit.Generate(ctx, g, ai.WithPrompt("Order 2 grilled fish."), ai.WithTools(order))
	if err != nil {
		return err
	}
	var restarts []ai.Part
	for _, part := range resp.Interrupts() {
		asked, _ := tool.InterruptAs[Approval](part)
		fmt.Printf("interrupt: %s, %.2f\n", asked.Reason, asked.Total)
		restart, err := order.RestartWith(part)
		if err != nil {
			return err
		}
		restarts = append(restarts, restart)
	}
	resp, err = genkit.Generate(ctx, g,
		ai.WithMessages(resp.History()...),
		ai.WithTools(order),
		ai.WithToolRestarts(restarts...),
	)
	if err != nil {
		return err
	}
	fmt.Println("order:", resp.Text())

	output, err := json.Marshal(text)
	if err != nil {
		return err
	}
	results, err := genkit.Evaluate(ctx, g,
		ai.WithEvaluator(evaluator),
		ai.WithDataset(ai.Example{TestCaseID: "polite", Input: json.RawMessage(`"soup?"`), Output: output}),
	)
	if err != nil {
		return err
	}
	for _, result := range results {
		fmt.Println("evaluation:", result.TestCaseID, result.Evaluation[0].Status)
	}
	return nil
}

// defineModel defines the stand-in: it asks for a tool once and then says what it heard.
func defineModel(g *genkit.Engine) ai.Model {
	return genkit.DefineModel(g, "cafe/waiter", ai.ModelOptions{
		Supports: ai.ModelSupports{Multiturn: true, Tools: true, SystemRole: true, Context: true},
	}, func(ctx context.Context, req *ai.ModelRequest, cb ai.ModelStreamCallback) (*ai.ModelResponse, error) {
		last := req.Messages[len(req.Messages)-1]
		reply := content.NewModelTextMessage("Certainly: " + last.Text())
		switch {
		case last.Role == content.RoleTool:
			reply = content.NewModelTextMessage(fmt.Sprintf("Done (%d answer), thank you.", len(last.Content)))
		case strings.HasPrefix(last.Text(), "Suggest"):
			reply = content.NewModelTextMessage(`{"name": "apple cake", "price": 5}`)
		case strings.HasPrefix(last.Text(), "Order"):
			reply = content.NewModelMessage(content.NewToolRequestPart(&content.ToolRequest{Name: "order", Input: json.RawMessage(`{"dish": "grilled fish", "count": 2}`)}))
		case len(req.Tools) > 0:
			reply = content.NewModelMessage(content.NewToolRequestPart(&content.ToolRequest{Name: "prices", Input: json.RawMessage(`{}`)}))
		}
		if cb != nil {
			for _, word := range strings.SplitAfter(reply.Text(), " ") {
				if err := cb(&ai.ModelResponseChunk{Content: []ai.Part{content.NewTextPart(word)}}); err != nil {
					return nil, err
				}
			}
		}
		return &ai.ModelResponse{Request: req, Message: &reply, FinishReason: model.FinishStop}, nil
	})
}

// defineEmbedder defines an embedder that counts letters.
func defineEmbedder(g *genkit.Engine) ai.Embedder {
	return genkit.DefineEmbedder(g, "cafe/letters", ai.EmbedderOptions{Dimensions: 26},
		func(ctx context.Context, req *ai.EmbedRequest) (*ai.EmbedResponse, error) {
			resp := &ai.EmbedResponse{}
			for _, doc := range req.Input {
				vector := make([]float64, 26)
				for _, r := range strings.ToLower(doc.Text()) {
					if r >= 'a' && r <= 'z' {
						vector[r-'a']++
					}
				}
				resp.Embeddings = append(resp.Embeddings, ai.Embedding{Vector: vector})
			}
			return resp, nil
		})
}

// nearest embeds the menu and the question and returns the dish that is closest.
func nearest(ctx context.Context, g *genkit.Engine, embedder ai.Embedder, question string) (ai.Document, error) {
	texts := []string{question}
	for _, dish := range menu {
		texts = append(texts, dish.Name)
	}
	resp, err := genkit.Embed(ctx, g, ai.WithEmbedder(embedder), ai.WithTextDocs(texts...))
	if err != nil {
		return ai.Document{}, err
	}
	best, score := 0, -1.0
	for i, e := range resp.Embeddings[1:] {
		sum := 0.0
		for j, v := range e.Vector {
			sum += float64(v * resp.Embeddings[0].Vector[j])
		}
		if sum > score {
			best, score = i, sum
		}
	}
	return content.DocumentFromText(menu[best].Name, nil), nil
}

// defineEvaluator defines an evaluator that wants politeness.
func defineEvaluator(g *genkit.Engine) ai.Evaluator {
	return genkit.DefineEvaluator(g, "cafe/polite", ai.EvaluatorOptions{DisplayName: "Polite", Definition: "Says thank you."},
		func(ctx context.Context, example *ai.Example, _ json.RawMessage) ([]ai.Score, error) {
			return []ai.Score{evaluate.Verdict(strings.Contains(string(example.Output), "thank you"))}, nil
		})
}
