// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
)

// teamService is what the test writes with: nothing else needs to exist for a team.
const teamService = "penstock.admin.v1.TeamService"

// reply is the outcome of an admin call: the response as JSON, or the code of the error, in lower case with underscores.
type reply struct {
	response map[string]any
	code     string
}

// adminCall makes one call; request is JSON.
type adminCall func(t *testing.T, token, method, request string) reply

// TestAdminProtocols speaks to the admin API's one port by gRPC, with nothing known but what reflection tells, by gRPC-Web as
// browsers do, and by Connect with JSON as curl does: create, update, list, and the refusal of a stale etag are the same.
func TestAdminProtocols(t *testing.T) {
	env := testenv.Start(t, testenv.Config{})
	plain := env.Token(t, testenv.OfUser(testenv.AdminEmail)).Text
	for name, call := range map[string]adminCall{
		"grpc": byGRPC(t, env), "grpc-web": byGRPCWeb(t, env), "connect": byConnect(env),
	} {
		t.Run(name, func(t *testing.T) { checkProtocol(t, call, name+"-team", plain) })
	}
}

func checkProtocol(t *testing.T, call adminCall, team, token string) {
	t.Helper()
	ok := func(method, request string) map[string]any {
		t.Helper()
		r := call(t, token, method, request)
		if r.code != "" {
			t.Fatalf("%s: %s", method, r.code)
		}
		return r.response
	}
	refused := func(what, token, method, request, code string) {
		t.Helper()
		if r := call(t, token, method, request); r.code != code {
			t.Errorf("%s: got %q %v, want %s", what, r.code, r.response, code)
		}
	}
	create := `{"team":{"name":"` + team + `","displayName":"First"}}`
	made := ok("CreateTeam", create)
	first := text(made, "team", "etag")
	if first == "" || text(made, "revision") == "" || text(made, "team", "uid") == "" {
		t.Errorf("created %v", made)
	}
	update := func(etag, name string) string {
		return `{"team":{"name":"` + team + `","etag":"` + etag + `","displayName":"` + name + `"},"updateMask":"displayName"}`
	}
	changed := ok("UpdateTeam", update(first, "Second"))
	if text(changed, "team", "displayName") != "Second" || text(changed, "team", "etag") == first {
		t.Errorf("updated to %v", changed)
	}
	refused("stale etag", token, "UpdateTeam", update(first, "Third"), "aborted")
	if got := ok("GetTeam", `{"name":"`+team+`"}`); text(got, "team", "displayName") != "Second" {
		t.Errorf("after a refused update: %v", got)
	}
	listed := ok("ListTeams", `{"pageSize":1,"filter":"name = \"`+team+`\""}`)
	if teams, _ := listed["teams"].([]any); len(teams) != 1 || fmt.Sprint(teams[0].(map[string]any)["name"]) != team {
		t.Errorf("listed %v", listed)
	}
	refused("second creation", token, "CreateTeam", create, "already_exists")
	refused("unknown name", token, "GetTeam", `{"name":"never-was"}`, "not_found")
	refused("bad name", token, "CreateTeam", `{"team":{"name":"Not A Slug"}}`, "invalid_argument")
	refused("no token", "", "GetTeam", `{"name":"`+team+`"}`, "unauthenticated")
	refused("garbled token", "garbage", "GetTeam", `{"name":"`+team+`"}`, "unauthenticated")
	refused("stale etag of a deletion", token, "DeleteTeam", `{"name":"`+team+`","etag":"`+first+`"}`, "aborted")
	ok("DeleteTeam", `{"name":"`+team+`","etag":"`+text(changed, "team", "etag")+`"}`)
	refused("after the deletion", token, "GetTeam", `{"name":"`+team+`"}`, "not_found")
}

// text digs a string out of a JSON object.
func text(object map[string]any, path ...string) string {
	for _, name := range path[:len(path)-1] {
		object, _ = object[name].(map[string]any)
	}
	s, _ := object[path[len(path)-1]].(string)
	return s
}

// byConnect is plain HTTP with JSON.
func byConnect(env *testenv.Env) adminCall {
	return func(t *testing.T, token, method, request string) reply {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, env.AdminURL+"/"+teamService+"/"+method, strings.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := env.HTTP.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }() // it was read to its end
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := json.Unmarshal(body, &object); err != nil {
			t.Fatalf("%d %s: %v", response.StatusCode, body, err)
		}
		if response.StatusCode == http.StatusOK {
			return reply{response: object}
		}
		code := text(object, "code")
		if want := map[string]int{
			"aborted": 409, "already_exists": 409, "not_found": 404, "invalid_argument": 400, "unauthenticated": 401,
		}[code]; response.StatusCode != want {
			t.Errorf("code %s comes with HTTP status %d, want %d", code, response.StatusCode, want)
		}
		return reply{code: code}
	}
}

// byGRPC knows no contract: it asks the server for its descriptors.
func byGRPC(t *testing.T, env *testenv.Env) adminCall {
	t.Helper()
	connection, err := grpc.NewClient(strings.TrimPrefix(env.AdminURL, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := connection.Close(); err != nil {
			t.Error(err)
		}
	})
	healthy, err := healthv1.NewHealthClient(connection).Check(t.Context(), &healthv1.HealthCheckRequest{Service: teamService})
	if err != nil || healthy.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health says %v (%v)", healthy, err)
	}
	service := reflectService(t, connection)
	return func(t *testing.T, token, method, request string) reply {
		t.Helper()
		m := service.Methods().ByName(protoreflect.Name(method))
		in, out := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
		if err := protojson.Unmarshal([]byte(request), in); err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		if token != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		}
		if err := connection.Invoke(ctx, "/"+teamService+"/"+method, in, out); err != nil {
			return reply{code: snake(status.Code(err).String())}
		}
		return reply{response: object(t, out)}
	}
}

func object(t *testing.T, m proto.Message) map[string]any {
	t.Helper()
	var v map[string]any
	raw, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// snake turns AlreadyExists into already_exists.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteString(strings.ToLower(string(r)))
	}
	return b.String()
}

// reflectService lists the services and fetches the file of one, with what it imports.
func reflectService(t *testing.T, connection *grpc.ClientConn) protoreflect.ServiceDescriptor {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := reflectionv1.NewServerReflectionClient(connection).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil || answer.GetErrorResponse() != nil {
			t.Fatalf("reflection of %v: %v %v", r, answer, err)
		}
		return answer
	}
	var services []string
	for _, s := range ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}).
		GetListServicesResponse().GetService() {
		services = append(services, s.GetName())
	}
	for _, name := range []string{"Server", "Connection", "Tool", "Gateway", "Team", "User", "BearerToken", "Configuration", "Node"} {
		if !slices.Contains(services, "penstock.admin.v1."+name+"Service") {
			t.Errorf("reflection lists no %sService, but %v", name, services)
		}
	}
	set := fetchFiles(t, ask)
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatalf("the descriptors that reflection gave do not fit together: %v", err)
	}
	found, err := files.FindDescriptorByName(teamService)
	if err != nil {
		t.Fatal(err)
	}
	return found.(protoreflect.ServiceDescriptor)
}

// fetchFiles asks for the file of the service and for what it imports.
func fetchFiles(t *testing.T, ask func(*reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse) *descriptorpb.FileDescriptorSet {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	var fetch func(*reflectionv1.ServerReflectionRequest)
	fetch = func(r *reflectionv1.ServerReflectionRequest) {
		for _, raw := range ask(r).GetFileDescriptorResponse().GetFileDescriptorProto() {
			file := &descriptorpb.FileDescriptorProto{}
			if err := proto.Unmarshal(raw, file); err != nil {
				t.Fatal(err)
			}
			if seen[file.GetName()] {
				continue
			}
			seen[file.GetName()] = true
			set.File = append(set.File, file)
			for _, name := range file.GetDependency() {
				if !seen[name] {
					fetch(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileByFilename{FileByFilename: name}})
				}
			}
		}
	}
	fetch(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: teamService}})
	return set
}

// byGRPCWeb has connect-web make the calls: one process per token.
func byGRPCWeb(t *testing.T, env *testenv.Env) adminCall {
	t.Helper()
	file := filepath.Join(t.TempDir(), "descriptors")
	if err := os.WriteFile(file, descriptors(t), 0o600); err != nil {
		t.Fatal(err)
	}
	programs := map[string]func(line string) string{}
	return func(t *testing.T, token, method, request string) reply {
		t.Helper()
		if programs[token] == nil {
			programs[token] = startGRPCWeb(t, map[string]string{"ADMIN_URL": env.AdminURL, "ADMIN_TOKEN": token, "DESCRIPTORS": file})
		}
		answer := programs[token](fmt.Sprintf(`{"service":%q,"method":%q,"request":%s}`, teamService, method, request))
		var r struct {
			OK       bool
			Response map[string]any
			Code     string
		}
		if err := json.Unmarshal([]byte(answer), &r); err != nil {
			t.Fatalf("grpc-web.mjs printed %q: %v", answer, err)
		}
		return reply{response: r.Response, code: r.Code}
	}
}

// startGRPCWeb starts the program and returns a function that has it make a call.
func startGRPCWeb(t *testing.T, settings map[string]string) func(line string) string {
	t.Helper()
	command := exec.CommandContext(context.WithoutCancel(t.Context()), "node", "grpc-web.mjs") // the clean-up ends it
	command.Dir, command.Env, command.WaitDelay = clientsDir(t), environment(settings), 5*time.Second
	var diagnostics bytes.Buffer
	command.Stderr = &diagnostics
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		if err := command.Wait(); err != nil {
			t.Errorf("grpc-web.mjs: %v\n%s", err, diagnostics.String())
		}
	})
	lines := bufio.NewReader(out)
	return func(line string) string {
		if _, err := io.WriteString(in, line+"\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("grpc-web.mjs: %v\n%s", err, diagnostics.String())
		}
		return answer
	}
}

// descriptors returns a FileDescriptorSet of the service with all imports, each file after what it imports.
func descriptors(t *testing.T) []byte {
	t.Helper()
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(teamService)
	if err != nil {
		t.Fatal(err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	add(found.ParentFile())
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
