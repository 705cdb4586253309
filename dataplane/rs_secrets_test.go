// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

// N128, RS-7, SE-4: a token is in no answer and no log, however it was presented, and whatever came of it.
func TestTokensAreNotTold(t *testing.T) {
	log := new(obstest.Log)
	inRS(t, rsOptions{maxStale: 24 * time.Hour, log: log}, func(w *rsWorld) {
		valid, foreign, gone := w.token(nil), w.token(map[string]any{"aud": rsRB}), w.token(map[string]any{"sub": "uid-gone"})
		forged := valid[:len(valid)-6] + "AAAAAA"
		answers := []rsReply{
			w.do("POST", "/v1/mcp/eng?access_token="+valid, "{}"), w.do("GET", "/v1/mcp/eng?access_token="+valid, ""),
			w.do("POST", "/v1/mcp/eng/messages?sessionId="+valid, "{}", bearer(valid)), w.do("POST", "/v1/mcp/eng", ping, bearer(valid), "Mcp-Session-Id: "+valid),
			w.do("POST", "/v1/mcp/"+valid, "{}"), w.do("GET", rsMetadata+valid, ""), w.call("eng", "srv__echo", valid), w.call("eng", "srv__write", valid),
		}
		for _, token := range []string{foreign, gone, forged, w.static["u1"], w.static["old"]} {
			answers = append(answers, w.call("eng", "srv__echo", token), w.do("POST", "/v1/mcp/eng", "{}", bearer(token), bearer(token)))
		}
		for _, token := range []string{valid, foreign, gone, forged, w.static["u1"], w.static["old"]} {
			for _, part := range append(strings.Split(token, ".")[1:], token) { // the header of all tokens is one
				for i, a := range answers {
					if strings.Contains(a.body+fmt.Sprint(a.header), part) {
						t.Errorf("answer %d holds the token: %d %v %s", i, a.status, a.header, a.body)
					}
				}
				if strings.Contains(log.String(), part) {
					t.Errorf("the log holds the token: %s", log)
				}
			}
		}
		if answers[0].status != 400 || answers[6].status != 200 {
			t.Errorf("%d and %d", answers[0].status, answers[6].status)
		}
	})
	if !strings.Contains(log.String(), `"level"`) {
		t.Error("nothing is logged at all")
	}
}

// N142, RS-13: a server that echoes everything that it got cannot give a caller's token to anybody.
func TestEchoHoldsNoToken(t *testing.T) {
	inRS(t, rsOptions{maxStale: 24 * time.Hour}, func(w *rsWorld) {
		w.origin.answers(func(in *inbound) {
			for name, values := range in.r.Header {
				in.w.Header()["X-Echo-"+name] = values
			}
			text, err := json.Marshal(fmt.Sprint(in.r.Header, in.r.URL, in.r.Host))
			if err != nil {
				t.Error(err)
			}
			in.result(`{"resultType":"complete","content":[{"type":"text","text":` + string(text) + `}]}`)
		})
		for name, token := range map[string]string{"access token": w.token(nil), "static token": w.static["u1"]} {
			got := w.call("eng", "srv__echo", token, "Cookie: s="+token, "X-Custom: "+token)
			if got.status != http.StatusOK || !strings.Contains(got.body, "Content-Type") {
				t.Fatalf("%s: nothing is echoed: %d %s", name, got.status, got.body)
			}
			if all := got.body + fmt.Sprint(got.header); strings.Contains(all, token) || strings.Contains(all, "X-Echo-") || strings.Contains(strings.ToLower(got.body), "authorization") {
				t.Errorf("%s: %v %s", name, got.header, got.body)
			}
		}
	})
}

// N148, RS-8: control characters in a token end in 400 or 401, and in no header of the answer.
func TestControlCharactersInTokens(t *testing.T) {
	inRS(t, rsOptions{maxStale: 24 * time.Hour}, func(w *rsWorld) {
		dial := w.client.Transport.(*http.Transport).DialContext
		for name, value := range map[string]string{
			"CR": "Bearer a\rInjected: yes", "NUL": "Bearer a\x00Injected: yes", "LF": "Bearer a\nInjected: yes", "CR LF": "Bearer a\r\nInjected: yes",
			"folded": "Bearer a\r\n Injected: yes", "DEL": "Bearer a\x7fInjected: yes", "escaped": "Bearer a%0d%0aInjected:%20yes", "vertical tab": "Bearer a\vInjected: yes",
			"quote": `Bearer a", error_description="Injected: yes`, "beyond ASCII": "Bearer é\u2028Injected: yes",
		} {
			conn, err := dial(w.t.Context(), "tcp", "node")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, _ = io.WriteString(conn, "POST /v1/mcp/eng HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\nAuthorization: "+value+"\r\n\r\n{}")
			}()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			body, _ := io.ReadAll(resp.Body) // the server may end the connection
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
			if resp.StatusCode != 400 && resp.StatusCode != 401 || strings.Contains(fmt.Sprint(resp.Header, string(body)), "njected") {
				t.Errorf("%s: %d %v %s", name, resp.StatusCode, resp.Header, body)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
