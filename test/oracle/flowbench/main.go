//go:build peers

// Command flowbench loads flow servers over loopback: this engine's and Genkit Go's
// server plugin, each a process of its own, in turns within one run. A client that
// checks every answer measures requests a second and how long they take.
//
// It owns the load, the rounds and the table. Use:
//
//	go run -tags peers ./flowbench -rounds 5
//	go run -tags peers ./flowbench -serve ours     # only serve, to be looked at
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	serve    = flag.String("serve", "", "serve as this peer until the process is told to end")
	rounds   = flag.Int("rounds", 3, "measurements of each peer")
	duration = flag.Duration("for", time.Second, "length of one measurement")
)

const warmUp = 200 * time.Millisecond

// order is that of the table.
var order = []string{"ours", "genkit-go"}

// job is a client's request and the answer that it must get.
type job struct {
	name, request, want string
}

// payload is the input of the flows: the flow "echo" returns it, "stream" sends it
// three times before.
const payload = `"hello, flow"`

var jobs = []job{
	{"unary", request("/echo", "application/json"), `{"result":` + payload + "}\n"},
	{
		"SSE, 3 chunks", request("/stream", "text/event-stream"),
		strings.Repeat(`data: {"message":`+payload+"}\n\n", 3) + `data: {"result":` + payload + "}\n\n",
	},
}

func request(path, accept string) string {
	body := `{"data":` + payload + `}`
	return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: " + accept +
		"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *serve != "" {
		start, known := peers[*serve]
		if !known {
			return fmt.Errorf("unknown peer %q", *serve)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(l.Addr())
		return start(ctx, l)
	}
	return compare(ctx)
}

// key names a row.
type key struct {
	job  string
	c    int
	peer string
}

func compare(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	addrs := map[string]string{}
	for _, name := range order {
		addr, err := spawn(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		addrs[name] = addr
	}
	levels := []int{1, 64, 512}
	results := map[key][]result{}
	for round := range *rounds {
		names := slices.Clone(order)
		if round%2 == 1 {
			slices.Reverse(names)
		}
		for _, j := range jobs {
			for _, c := range levels {
				for _, name := range names {
					if _, err := load(addrs[name], j, c, warmUp); err != nil {
						return fmt.Errorf("%s, %s: %w", name, j.name, err)
					}
					r, err := load(addrs[name], j, c, *duration)
					if err != nil {
						return fmt.Errorf("%s, %s: %w", name, j.name, err)
					}
					k := key{j.name, c, name}
					results[k] = append(results[k], r)
				}
			}
		}
	}
	table(levels, results)
	return nil
}

// spawn starts this program as a server; ctx ends it.
func spawn(ctx context.Context, name string) (addr string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, self, "-serve", name)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(line), err
}

// result is one measurement.
type result struct {
	perSecond float64
	p50, p99  time.Duration
}

// load sends the job over c connections until the time is over.
func load(addr string, j job, c int, length time.Duration) (result, error) {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		all  []time.Duration
		fail error
	)
	start := time.Now()
	end := start.Add(length)
	for range c {
		wg.Go(func() {
			took, err := client(addr, j, end)
			mu.Lock()
			defer mu.Unlock()
			all, fail = append(all, took...), errors.Join(fail, err)
		})
	}
	wg.Wait()
	seconds := time.Since(start).Seconds()
	if fail != nil {
		return result{}, fail
	}
	slices.Sort(all)
	return result{float64(len(all)) / seconds, all[len(all)/2], all[len(all)*99/100]}, nil
}

// client sends one request after another and checks what comes back. It knows as much
// of HTTP as the answers need, so that it takes little from the servers' processors.
func client(addr string, j job, end time.Time) (took []time.Duration, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	var body []byte
	for {
		start := time.Now()
		if start.After(end) {
			return took, nil
		}
		if _, err := io.WriteString(conn, j.request); err != nil {
			return took, err
		}
		if body, err = answer(r, body[:0]); err != nil {
			return took, err
		}
		if string(body) != j.want {
			return took, fmt.Errorf("got %q, want %q", body, j.want)
		}
		took = append(took, time.Since(start))
	}
}

// answer reads one response with status 200 and appends its body.
func answer(r *bufio.Reader, body []byte) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return nil, fmt.Errorf("status line %q", line)
	}
	length, chunked := 0, false
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "Content-Length":
			length, err = strconv.Atoi(string(value))
		case "Transfer-Encoding":
			chunked = string(value) == "chunked"
		}
		if err != nil {
			return nil, err
		}
	}
	if !chunked {
		return take(r, body, length)
	}
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return nil, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return nil, err
		}
		if body, err = take(r, body, int(n)); err != nil {
			return nil, err
		}
		if _, err := r.Discard(2); err != nil {
			return nil, err
		}
		if n == 0 {
			return body, nil
		}
	}
}

func take(r *bufio.Reader, body []byte, n int) ([]byte, error) {
	at := len(body)
	body = slices.Grow(body, n)[:at+n]
	_, err := io.ReadFull(r, body[at:])
	return body, err
}

func table(levels []int, results map[key][]result) {
	fmt.Printf("%d rounds of %s, GOMAXPROCS %d\n\n", *rounds, *duration, runtime.GOMAXPROCS(0))
	fmt.Println("| answer | c | peer | requests/s median [min-max] | p50 | p99 | ours/peer requests/s | peer/ours p99 |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, j := range jobs {
		for _, c := range levels {
			ours := results[key{j.name, c, "ours"}]
			for _, name := range order {
				list := results[key{j.name, c, name}]
				rate := sorted(list, func(r result) float64 { return r.perSecond })
				fmt.Printf("| %s | %d | %s | %.0f [%.0f-%.0f] | %s | %s | %.2f | %.2f |\n", j.name, c, name,
					rate[len(rate)/2], rate[0], rate[len(rate)-1], middle(list, func(r result) time.Duration { return r.p50 }), middle(list, func(r result) time.Duration { return r.p99 }),
					ratio(ours, list, func(r result) float64 { return r.perSecond }), ratio(list, ours, func(r result) float64 { return float64(r.p99) }))
			}
		}
	}
}

func sorted(list []result, of func(result) float64) []float64 {
	values := make([]float64, len(list))
	for i, r := range list {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values
}

func middle(list []result, of func(result) time.Duration) time.Duration {
	values := sorted(list, func(r result) float64 { return float64(of(r)) })
	return time.Duration(values[len(values)/2]).Round(10 * time.Microsecond)
}

// ratio is the median of the rounds', in each of which both ran within seconds.
func ratio(a, b []result, of func(result) float64) float64 {
	values := make([]float64, len(a))
	for i := range a {
		values[i] = of(a[i]) / of(b[i])
	}
	slices.SortFunc(values, cmp.Compare)
	return values[len(values)/2]
}
