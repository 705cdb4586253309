// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"fmt"
	"os"

	"github.com/penstockhq/penstock/sdk/admin/manifest"
)

func ExampleLoad() {
	set, err := manifest.Load([]manifest.Source{{Name: "eng.yaml", Data: []byte(`
kind: Gateway
name: eng
visibility: {team: {teams: [eng]}}
authentication: {bearer_token: {}}
`)}}, manifest.Secrets{LookupEnv: os.LookupEnv, ReadFile: os.ReadFile})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(manifest.Kind(set.Resources[0]))
	// Output: Gateway eng
}

func ExampleProblems() {
	_, err := manifest.Load([]manifest.Source{{Name: "eng.yaml", Data: []byte("kind: Gateway\nname: eng\nvisiblity: {}\n")}}, manifest.Secrets{})
	fmt.Println(err)
	// Output: eng.yaml:3:1: unknown field "visiblity" of Gateway; did you mean "visibility"?
}
