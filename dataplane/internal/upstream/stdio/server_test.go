// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// The servers of these tests are this test program itself, started anew as a real process with a mode in its environment.
const modeVariable = "PENSTOCK_TEST_STDIO_SERVER"

// modes are the servers, by name. The first is a good one on mcp-go; the others are scripts of what real ones do wrong.
func modes() map[string]func() {
	m := map[string]func(){
		"good": good,
		"exit": func() { fmt.Fprintf(os.Stderr, "starting\ncannot log in with %s\n", os.Getenv("API_KEY")); os.Exit(7) },
		"garbage": func() {
			fmt.Fprint(os.Stdout, "Welcome!\nlistening on stdio\n{\"not\":\"a message\"}\n")
			_, _ = io.Copy(io.Discard, os.Stdin)
		},
		"mute":     func() { _, _ = io.Copy(io.Discard, os.Stdin) },
		"stubborn": stubborn,
		"daemon":   daemon,
	}
	for name, answer := range scripts() {
		m[name] = func() { serve(answer) }
	}
	return m
}

// script answers one message of the node.
type script func(s *scripted, m message)

type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
	raw    string
}

type scripted struct {
	in    *bufio.Reader
	said  []string // what the node said, raw
	calls int
}

func (s *scripted) line(format string, a ...any) { fmt.Fprintf(os.Stdout, format+"\n", a...) }

func (s *scripted) result(m message, result string) {
	s.line(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

func (s *scripted) text(m message, text string) {
	quoted, _ := json.Marshal(text)
	s.result(m, `{"content":[{"type":"text","text":`+string(quoted)+`}]}`)
}

func (s *scripted) unknown(m message) {
	s.line(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`, m.ID)
}

func (s *scripted) initialize(m message, version string) {
	s.result(m, `{"protocolVersion":"`+version+`","capabilities":{"tools":{}},"serverInfo":{"name":"scripted","version":"1"}}`)
}

// serve reads the node's messages to the end of input; initialize is answered unless the script does.
func serve(answer script) {
	s := &scripted{in: bufio.NewReader(os.Stdin)}
	for {
		m, err := s.read()
		if err != nil {
			return
		}
		answer(s, m)
	}
}

func (s *scripted) read() (message, error) {
	raw, err := s.in.ReadString('\n')
	if err != nil {
		return message{}, err
	}
	var m message
	if err := json.Unmarshal([]byte(raw), &m); err != nil {
		fmt.Fprintln(os.Stderr, "the node wrote no JSON:", raw)
		os.Exit(9)
	}
	m.raw = strings.TrimSpace(raw)
	s.said = append(s.said, m.raw)
	return m, nil
}

// then makes a script that initializes properly and does as told with everything else that has a method and an id.
func then(f func(s *scripted, m message)) script {
	return func(s *scripted, m message) {
		switch {
		case m.Method == "server/discover":
			s.unknown(m)
		case m.Method == "initialize":
			s.initialize(m, "2025-11-25")
		case m.Method != "" && m.ID != nil:
			s.calls++
			f(s, m)
		}
	}
}

func scripts() map[string]script {
	pad := strings.Repeat("x", 1<<20)
	return map[string]script{
		"banner": func(s *scripted, m message) {
			if m.Method == "initialize" {
				s.line("Welcome to the server\n\n[1,2]\n{\"jsonrpc\":\"2.0\"}\n\xff\xfe")
			}
			then(func(s *scripted, m message) { s.line("debug: called"); s.text(m, "fine") })(s, m)
		},
		"old": func(s *scripted, m message) {
			if m.Method == "tools/list" {
				s.result(m, `{"tools":[]}`)
				return
			}
			s.initialize(m, "2024-11-05")
		},
		"modern": func(s *scripted, m message) { s.initialize(m, "2026-07-28") },
		"refuses": func(s *scripted, m message) {
			s.line(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"no licence"}}`, m.ID)
		},
		"empty": func(s *scripted, m message) { s.result(m, `{}`) },
		// Lives through the handshake only.
		"brief": func(s *scripted, m message) {
			if m.Method == "notifications/initialized" {
				os.Exit(3)
			}
			s.initialize(m, "2025-11-25")
		},
		"crash":      then(func(s *scripted, m message) { fmt.Fprintln(os.Stderr, "panic: out of cheese"); os.Exit(3) }),
		"crash-once": then(crashOnce),
		"last-words": then(func(s *scripted, m message) { s.text(m, "goodbye"); os.Exit(3) }),
		"half": then(func(s *scripted, m message) {
			fmt.Fprintf(os.Stdout, `{"jsonrpc":"2.0","id":%s,"result":{"content":[`, m.ID)
			os.Exit(0)
		}),
		"unended": then(func(s *scripted, m message) {
			fmt.Fprintf(os.Stdout, `{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"unended"}]}}`, m.ID)
			os.Exit(0)
		}),
		"leaves": then(func(s *scripted, m message) { // answers one call, and hears nothing more
			_ = os.Stdin.Close()
			s.text(m, "once")
			select {}
		}),
		"slow": then(func(s *scripted, m message) { // tells what it got, but for one tool
			if !bytes.Contains(m.Params, []byte(`"slow"`)) {
				s.text(m, strings.Join(s.said, "\n"))
			}
		}),
		"silent": then(func(*scripted, message) {}),
		"hung":   then(func(*scripted, message) { select {} }), //nolint:revive // that is the point
		"deaf": func(s *scripted, m message) {
			if s.initialize(m, "2025-11-25"); m.Method == "initialize" {
				select {}
			}
		},
		"closes":    then(func(s *scripted, m message) { _ = os.Stdout.Close(); _, _ = io.Copy(io.Discard, os.Stdin) }),
		"duplicate": then(func(s *scripted, m message) { s.line(`{"jsonrpc":"2.0","id":%s,"result":{"a":1,"a":2}}`, m.ID) }),
		"no-object": then(func(s *scripted, m message) { s.result(m, `[1]`) }),
		"batch": then(func(s *scripted, m message) {
			s.line(`[{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}},{"jsonrpc":"2.0","id":%s,"result":{"ok":true}}]`, m.ID)
		}),
		"stray": then(func(s *scripted, m message) {
			s.line(`{"jsonrpc":"2.0","id":999,"result":{"ok":false}}` + "\n" + `{"jsonrpc":"2.0","id":"x","result":{}}` + "\n" +
				`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":999,"progress":1}}`)
			s.result(m, `{"ok":true}`)
		}),
		// The long answer has its id last, as the TypeScript SDK writes it; the next call is answered well.
		"huge": then(func(s *scripted, m message) {
			if s.calls%2 == 1 {
				s.line(`{"result":{"content":[{"type":"text","text":"%s","id":77}]},"jsonrpc":"2.0","id":%s}`, pad, m.ID)
				return
			}
			s.text(m, "small")
		}),
		"asks": then(asks),
		"said": then(func(s *scripted, m message) { s.text(m, strings.Join(s.said, "\n")) }),
		"pages": then(func(s *scripted, m message) {
			switch {
			case bytes.Contains(m.Params, []byte(`"cursor":"2"`)):
				s.result(m, `{"tools":[{"name":"c"}],"nextCursor":"1"}`)
			case bytes.Contains(m.Params, []byte(`"cursor":"1"`)):
				s.result(m, `{"tools":[{"name":"b","inputSchema":{"x-keep": 9007199254740993}}],"nextCursor":"2"}`)
			default:
				s.result(m, `{"tools":[{ "name" : "a" }],"nextCursor":"1"}`)
			}
		}),
		"flood": then(func(s *scripted, m message) {
			for i := range 2000 {
				s.line(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d}}`, m.ID, i)
			}
			s.text(m, "flooded")
		}),
		"fork": then(fork),
		"list-error": then(func(s *scripted, m message) {
			s.line(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no tools"}}`, m.ID)
		}),
		"list-bad":  then(func(s *scripted, m message) { s.result(m, `{"tools":[{"name":"a"},7]}`) }),
		"list-text": then(func(s *scripted, m message) { s.result(m, `{"tools":"none"}`) }),
		"no-tools": func(s *scripted, m message) {
			s.result(m, `{"protocolVersion":"2025-11-25","capabilities":{"prompts":{}},"serverInfo":{"name":"n","version":"1"},"instructions":"read"}`)
		},
	}
}

// crashOnce dies at the first call of all processes that share a file, and answers later ones.
func crashOnce(s *scripted, m message) {
	if f, err := os.OpenFile(os.Getenv("MARK"), os.O_CREATE|os.O_EXCL, 0o600); err == nil {
		_ = f.Close()
		os.Exit(3)
	}
	s.text(m, "second")
}

// asks puts questions to the node in the middle of a call and reports the answers.
func asks(s *scripted, m message) {
	s.line(`{"jsonrpc":"2.0","id":%s,"method":"ping"}`, m.ID) // its ids may equal ours
	s.line(`{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}`)
	var answers []string
	for range 2 {
		a, err := s.read()
		if err != nil {
			return
		}
		answers = append(answers, a.raw)
	}
	s.text(m, strings.Join(answers, "\n"))
}

// fork starts a grandchild that would live on and holds all pipes, tells its pid, and stays.
func fork(s *scripted, m message) {
	c := exec.Command("/bin/sleep", "1000")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Start(); err != nil {
		s.text(m, err.Error())
		return
	}
	s.text(m, fmt.Sprint(c.Process.Pid))
}

// stubborn ignores the end of its input and SIGTERM.
func stubborn() {
	signal.Ignore(syscall.SIGTERM)
	serve(then(func(s *scripted, m message) { s.text(m, fmt.Sprint(os.Getpid())) }))
	select {}
}

// daemon ends at once and leaves a child in a session of its own that holds the pipes.
func daemon() {
	c := exec.Command("/bin/sleep", "3")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	_ = c.Start()
}

// good is a server made with mcp-go.
func good() {
	s := server.NewMCPServer("good", "1.0", server.WithToolCapabilities(true), server.WithInstructions("be kind"), server.WithLogging())
	tool := func(name string, run func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error)) {
		s.AddTool(mcp.NewTool(name), run)
	}
	tool("echo", func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText(r.GetString("text", "")), nil
	})
	tool("fail", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultError("it failed"), nil
	})
	tool("pid", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText(fmt.Sprint(os.Getpid())), nil
	})
	tool("environment", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		wd, err := os.Getwd()
		return mcp.NewToolResultText(strings.Join(append(os.Environ(), "wd "+wd, fmt.Sprint("args ", os.Args[1:])), "\n")), err
	})
	tool("whisper", func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		fmt.Fprintln(os.Stderr, r.GetString("text", ""), os.Getenv("API_KEY"))
		return mcp.NewToolResultText("ok"), nil
	})
	tool("steps", func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for i := range 5 {
			params := map[string]any{"progressToken": r.Params.Meta.ProgressToken, "progress": i, "total": 5}
			if err := s.SendNotificationToClient(ctx, "notifications/progress", params); err != nil {
				return nil, err
			}
			time.Sleep(time.Duration(r.GetInt("pause", 30)) * time.Millisecond) // mcp-go lets a result overtake notifications
		}
		return mcp.NewToolResultText("done"), nil
	})
	tool("slow", func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		_ = os.WriteFile(r.GetString("text", "")+".started", nil, 0o600)
		<-ctx.Done()
		return nil, os.WriteFile(r.GetString("text", "")+".cancelled", nil, 0o600)
	})
	if err := server.ServeStdio(s); err != nil {
		os.Exit(1)
	}
}
