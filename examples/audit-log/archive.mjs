// A log in one file, from its first entry to its last.  Source: docs/PROTOCOL.md, section 15.
import { readFileSync } from 'node:fs'
import { Auditor } from './auditor.mjs'
import { check, hex, same, utf8 } from './records.mjs'

const MAGIC = utf8('gristmill-log/1\n')

function* frames(file) {
  check(same(file.subarray(0, MAGIC.length), MAGIC), 'no archive of a score log')
  for (let at = MAGIC.length; at < file.length; ) {
    check(at + 4 <= file.length, 'the archive ends within a frame')
    const size = new DataView(file.buffer, file.byteOffset + at, 4).getUint32(0)
    check(at + 4 + size <= file.length, 'the archive ends within a frame')
    yield file.subarray(at + 4, (at += 4 + size))
  }
}

// What the log in this file comes to; throws `Wrong` at the first thing that does not follow.
export function audit(path, chainId) {
  const [genesis, ...entries] = frames(readFileSync(path))
  const auditor = new Auditor(genesis)
  check(!chainId || hex(auditor.chainId) === chainId, `this is the log of chain ${hex(auditor.chainId)}`)
  for (const entry of entries) auditor.take(entry)
  check(auditor.expected.length === 0, 'what follows from the last batch is missing')
  const { fold, log, sequence } = auditor
  const { epoch, cycle, height } = fold
  const counts = { entries: log.size, batches: Number(sequence), epoch, cycle: Number(cycle), height }
  return { ok: true, chain: hex(auditor.chainId), ...counts, root: hex(log.root()) }
}
