// Holds examples/audit-log, a second implementation in another language, against logs and vectors.
//
//   node audit_log.mjs DIRECTORY_OF_THE_EXAMPLE PROTOCOL_JSON LOG...
//
// Prints one JSON object: for each log what became of it; for the vectors what was not as they say.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [home, vectors, ...logs] = process.argv.slice(2)
const part = (name) => import(pathToFileURL(join(home, name)))
const [{ audit }, { split }, { printable, isAddress }, { Wrong, decode, fromHex, hex, recordOf, text }] = await Promise.all(
  ['archive.mjs', 'auditor.mjs', 'members.mjs', 'records.mjs'].map(part)
)

function attempt(act) {
  try {
    return act()
  } catch (error) {
    if (!(error instanceof Wrong)) throw error
    return { ok: false, why: error.message }
  }
}

const { member_texts: texts, ordering } = JSON.parse(readFileSync(vectors, 'utf-8'))
const wrong = []
const expect = (fits, items, rule) => items.filter((item) => rule(fromHex(item)) !== fits).forEach((item) => wrong.push(item))
expect(true, texts.names, (name) => name.length > 0 && printable(name))
expect(false, texts.no_names, (name) => name.length > 0 && printable(name))
expect(true, texts.addresses, isAddress)
expect(false, texts.no_addresses, isAddress)

const isOne = (operation) =>
  attempt(() => {
    const { tag, body } = decode('Operation', operation)
    return recordOf(text(tag)) !== undefined && recordOf(text(tag)) !== 'Commands' && decode(recordOf(text(tag)), body) && true
  }) === true
const { operations, operation, refused, each_for_itself: own } = ordering.commands
if (String(split(fromHex(operation)).map(hex)) !== String(operations)) wrong.push('commands')
for (const { why, operation } of refused) if (attempt(() => split(fromHex(operation))).ok !== false) wrong.push(why)
const malformed = split(fromHex(own.operation)).flatMap((each, place) => (isOne(each) ? [] : [place]))
if (String(malformed) !== String(own.malformed)) wrong.push(`malformed: ${malformed}`)

console.log(JSON.stringify({ wrong, logs: logs.map((path) => attempt(() => audit(path))) }))
