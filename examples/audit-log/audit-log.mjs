// Audits a score log with nothing of Gristmill's, from docs/PROTOCOL.md and docs/RECORDS.md alone.
//
//   gristmill audit --from REPLICA --chain-id ID --save log.grist
//   node audit-log.mjs log.grist [CHAIN_ID]
//
// Prints one JSON object; exits with 1 at the first thing that does not follow.  Every signature is verified,
// every derived entry is derived again and compared byte by byte.
import { argv, exit } from 'node:process'
import { audit } from './archive.mjs'
import { Wrong } from './records.mjs'

if (argv.length < 3) {
  console.error('node audit-log.mjs LOG [CHAIN_ID]')
  exit(2)
}
try {
  console.log(JSON.stringify(audit(argv[2], argv[3])))
} catch (error) {
  if (!(error instanceof Wrong)) throw error
  console.log(JSON.stringify({ ok: false, why: error.message }))
  exit(1)
}
