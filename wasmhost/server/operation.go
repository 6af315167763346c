package server

import "maps"

// operation is the document's entry of a route.
type operation struct {
	// ends is set of what takes from a caller or a tenant all that they may do: it is carried out also while the audit log
	// can't be written. Who has filled the disk could not be stopped otherwise.
	ends                   bool
	id, tag, summary, text string
	// params names entries of the components' parameters; those of the path
	// are found by themselves.
	params []string
	// list is the list of which the parameter "cursor" names a place.
	list string
	// request maps media types to schemas; optional allows no body at all.
	request  map[string]any
	optional bool
	// responses maps HTTP statuses to what they carry; failures lists the
	// statuses that carry a problem, or Genkit's error where plain is set.
	responses map[int]answerDoc
	failures  []int
	plain     bool
}

// answerDoc is a response that is no failure.
type answerDoc struct {
	text    string
	content map[string]any // media type → schema
	headers []string       // entries of the components' headers
	links   links
}

// links name, for operations that can follow, where their parameters are found in the answer
// or in the request that it answers: operation → parameter → runtime expression of OpenAPI.
type links map[string]map[string]string

// with adds operations that all take the same parameters.
func (l links) with(parameters map[string]string, operations ...string) links {
	all := maps.Clone(l)
	if all == nil {
		all = links{}
	}
	for _, id := range operations {
		all[id] = parameters
	}
	return all
}

// object leaves out the operations that the server does not have.
func (l links) object(served map[string]bool) map[string]any {
	object := map[string]any{}
	for id, parameters := range l {
		if served[id] {
			object[id] = map[string]any{"operationId": id, "parameters": parameters}
		}
	}
	return object
}

func ref(schema string) any { return map[string]any{"$ref": "#/components/schemas/" + schema} }

func jsonOf(schema string) map[string]any { return map[string]any{"application/json": ref(schema)} }

// streamed is JSON that may come as a stream of frames.
func streamed(schema string) map[string]any {
	return map[string]any{"application/json": ref(schema), eventStream: ref("Frames")}
}

const eventStream = "text/event-stream"

const formType = "multipart/form-data"
