// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestDuration(t *testing.T) {
	for _, tc := range []struct {
		text  string
		want  time.Duration
		short string
	}{
		{"0", 0, "0s"},
		{"0s", 0, "0s"},
		{"500ms", 500 * time.Millisecond, "500ms"},
		{"60s", time.Minute, "1m"},
		{"90s", 90 * time.Second, "1m30s"},
		{"10m", 10 * time.Minute, "10m"},
		{"12h", 12 * time.Hour, "12h"},
		{"1h30m", 90 * time.Minute, "1h30m"},
		{"1h0m5s", time.Hour + 5*time.Second, "1h0m5s"},
		{"30d", 720 * time.Hour, "30d"},
		{"24h", 24 * time.Hour, "1d"},
		{"-1d", -24 * time.Hour, "-1d"},
	} {
		got, err := conf.ParseDuration(tc.text)
		if err != nil || got != tc.want {
			t.Errorf("%s: got %s, %v", tc.text, got, err)
		}
		if short := conf.FormatDuration(got); short != tc.short {
			t.Errorf("%s: prints %s, want %s", tc.text, short, tc.short)
		}
		if again, err := conf.ParseDuration(conf.FormatDuration(got)); err != nil || again != got {
			t.Errorf("%s: comes back as %s, %v", tc.text, again, err)
		}
	}
	for _, text := range []string{"", "60", "1.5d", "d", "1 h", "106752d", "-106752d", "99999999999999999999d"} {
		if got, err := conf.ParseDuration(text); err == nil {
			t.Errorf("%q reads as %s", text, got)
		}
	}
}

func TestSize(t *testing.T) {
	for _, tc := range []struct {
		text  string
		want  conf.Size
		short string
	}{
		{"0", 0, "0"},
		{"512", 512, "512"},
		{"512B", 512, "512"},
		{"64KiB", 64 << 10, "64KiB"},
		{"10 MiB", 10 << 20, "10MiB"},
		{"10MB", 10e6, "10MB"},
		{"1kB", 1000, "1kB"},
		{"1KB", 1000, "1kB"},
		{"2GiB", 2 << 30, "2GiB"},
		{"3TiB", 3 << 40, "3TiB"},
		{"3TB", 3e12, "3TB"},
		{"1024", 1024, "1KiB"},
		{"8388607TiB", 8388607 << 40, "8388607TiB"},
	} {
		var got conf.Size
		if err := got.UnmarshalText([]byte(tc.text)); err != nil || got != tc.want {
			t.Errorf("%s: got %d, %v", tc.text, got, err)
		}
		if got.String() != tc.short {
			t.Errorf("%s: prints %s, want %s", tc.text, got, tc.short)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "1XB", "8388608TiB", "9223372036854775808", "1mib"} {
		var got conf.Size
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q reads as %d", text, got)
		}
	}
}

// Architecture section 2: PENSTOCK_PORT_OFFSET shifts every default port, and
// no port that somebody chose.
func TestPortOffset(t *testing.T) {
	for _, tc := range []struct {
		addr   string
		offset conf.PortOffset
		want   string
	}{
		{"127.0.0.1:8080", 0, "127.0.0.1:8080"},
		{"127.0.0.1:8080", 10, "127.0.0.1:8090"},
		{":8080", 10, ":8090"},
		{"[::1]:8080", 10, "[::1]:8090"},
		{"http://127.0.0.1:8083/x?y", 10, "http://127.0.0.1:8093/x?y"},
		{"http://auth.example/x", 10, "http://auth.example/x"},
		{"127.0.0.1:0", 10, "127.0.0.1:0"},
		{"127.0.0.1", 10, "127.0.0.1"},
		{"", 10, ""},
		{"127.0.0.1:http", 10, "127.0.0.1:http"},
		{"127.0.0.1:65000", 535, "127.0.0.1:65535"},
	} {
		if got, err := tc.offset.Shift(tc.addr); err != nil || got != tc.want {
			t.Errorf("%s by %d: got %s, %v", tc.addr, tc.offset, got, err)
		}
	}
	for _, addr := range []string{"127.0.0.1:65000", "http://127.0.0.1:65000/"} {
		if got, err := conf.PortOffset(536).Shift(addr); fault.KindOf(err) != fault.Invalid || got != "" {
			t.Errorf("%s: got %s, %v", addr, got, err)
		}
	}

	for text, want := range map[string]conf.PortOffset{"": 0, "0": 0, "100": 100} {
		if got, err := conf.ReadPortOffset([]string{"PENSTOCK_PORT_OFFSET=" + text}); err != nil || got != want {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"-1", "x", "65536", "1.5"} {
		if got, err := conf.ReadPortOffset([]string{"PENSTOCK_PORT_OFFSET=" + text}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
}

func TestPortOffsetLeavesChosenPortsAlone(t *testing.T) {
	type ports struct {
		PortOffset conf.PortOffset
		A          string   `default:"127.0.0.1:1000" port:"shift"`
		B          string   `default:"127.0.0.1:2000" port:"shift"`
		C          string   `default:"127.0.0.1:3000"`
		D          []string `default:"a:1,b:2" port:"shift"`
		E          string   `port:"shift"`
	}
	for _, tc := range []struct {
		name string
		args []string
		env  []string
		want ports
	}{
		{"by the variable", []string{"--a", "127.0.0.1:5000"}, []string{"PENSTOCK_PORT_OFFSET=7"}, ports{7, "127.0.0.1:5000", "127.0.0.1:2007", "127.0.0.1:3000", []string{"a:8", "b:9"}, ""}},
		{"by the flag", []string{"--port-offset", "9"}, []string{"PENSTOCK_PORT_OFFSET=7"}, ports{9, "127.0.0.1:1009", "127.0.0.1:2009", "127.0.0.1:3000", []string{"a:10", "b:11"}, ""}},
		{"the default address, chosen", []string{"--a", "127.0.0.1:1000"}, []string{"PENSTOCK_PORT_OFFSET=7"}, ports{7, "127.0.0.1:1000", "127.0.0.1:2007", "127.0.0.1:3000", []string{"a:8", "b:9"}, ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got ports
			p := program(tc.args...)
			p.Environ = tc.env
			if _, err := conf.Load(p, &got); err != nil || !cmp.Equal(got, tc.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}
