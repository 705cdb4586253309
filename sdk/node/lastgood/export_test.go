// SPDX-License-Identifier: Apache-2.0

package lastgood

// SetMinDead makes little garbage worth removing, so that a test need not make much.
func (s *Store) SetMinDead(bytes int) { s.packs.minDead = bytes }
