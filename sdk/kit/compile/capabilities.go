// SPDX-License-Identifier: Apache-2.0

package compile

import "encoding/json"

// Extensions that Penstock knows and that gateways allow unless they say otherwise (M-60).
const (
	ExtensionUI    = "io.modelcontextprotocol/ui"
	ExtensionTasks = "io.modelcontextprotocol/tasks"
)

// MakeCapabilities reads the raw ServerCapabilities of any version. What is missing, or not of the type it should be, is
// not declared.
func MakeCapabilities(raw []byte) Capabilities {
	all := members(raw)
	prompts, resources, tools := members(all["prompts"]), members(all["resources"]), members(all["tools"])
	tasks := members(members(members(all["tasks"])["requests"])["tools"])
	c := Capabilities{
		Prompts: prompts != nil, PromptsChanged: isTrue(prompts["listChanged"]),
		Resources: resources != nil, ResourcesChanged: isTrue(resources["listChanged"]), ResourcesWatched: isTrue(resources["subscribe"]),
		Tools: tools != nil, ToolsChanged: isTrue(tools["listChanged"]),
		Completions: members(all["completions"]) != nil, Logging: members(all["logging"]) != nil,
		Tasks: members(tasks["call"]) != nil,
	}
	for name, settings := range members(all["extensions"]) {
		if members(settings) == nil {
			continue
		}
		if c.Extensions == nil {
			c.Extensions = make(map[string][]byte)
		}
		c.Extensions[name] = settings
	}
	return c
}

// members opens a JSON object; nil if it is none. A map, because names are exact: a struct would take "Prompts" too.
func members(raw json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if len(raw) == 0 || json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

func isTrue(raw json.RawMessage) bool { return string(raw) == "true" }
