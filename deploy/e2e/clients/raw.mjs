// Speaks MCP without a library, in every version: bytes of lists and results, statuses, error codes, bad input.
// With MCP_DIRECT=1 only what every server owes is checked; against a gateway, also what this product promises.
import { profileOf } from './lib/profiles.mjs';
import { Report } from './lib/report.mjs';
import { readSettings } from './lib/settings.mjs';
import { checkBadInput } from './raw/badinput.mjs';
import { checkFidelity } from './raw/fidelity.mjs';
import { checkLegacy } from './raw/legacy.mjs';
import { checkModern } from './raw/modern.mjs';

const settings = readSettings();
const report = new Report('raw');

// A profile of its own for each version: what a call changes must not be there yet.
for (const version of ['2025-11-25', '2025-06-18', '2025-03-26']) {
  await checkLegacy(report, settings, profileOf(settings), version);
}
// An upstream asked directly speaks the modern era only if MCP_ERA says so.
if (!settings.direct || settings.era === 'modern') {
  await checkModern(report, settings, profileOf(settings));
}
if (settings.profile === 'fidelity') {
  await checkFidelity(report, settings);
}
if (!settings.direct) {
  await checkBadInput(report, settings);
}
report.finish();
