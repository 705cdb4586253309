// SPDX-License-Identifier: Apache-2.0

package wire

// LogLevels is how many log levels there are (RFC 5424).
const LogLevels = 8

// LogLevel returns the rank of a log level, 0 for "debug" to LogLevels−1 for
// "emergency"; −1 for what is none.
func LogLevel(name string) int {
	for i, known := range [LogLevels]string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"} {
		if name == known {
			return i
		}
	}
	return -1
}
