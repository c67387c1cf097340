// Holds examples/verify.mjs, which is @noble/curves, against our test vectors.
//
//   node noble.mjs VERIFY_MJS PROTOCOL_JSON
//
// Prints one JSON object: how much was accepted, and what should have been refused and was not.
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const [script, path] = process.argv.slice(2)
const { certificateMessage, decodeCertificate, fromHex, toHex, verifyCertificate, verifyRound, verifySignature } =
  await import(pathToFileURL(script))
const vectors = JSON.parse(readFileSync(path, 'utf-8'))

const wrong = []
const counts = { rounds: 0, certificates: 0, signatures: 0, finalities: 0, refused: 0 }

function accept(kind, act) {
  try {
    act()
    counts[kind] += 1
  } catch (error) {
    wrong.push(`${kind}: ${error.message}`)
  }
}

function refuse(why, act) {
  try {
    act()
    wrong.push(`accepted: ${why}`)
  } catch {
    counts.refused += 1
  }
}

function equal(found, expected) {
  if (String(found) !== String(expected)) throw new Error(`${found}, not ${expected}`)
}

const beaconKey = fromHex(vectors.beacon.federation_key)
for (const { round, signature, randomness } of vectors.beacon.rounds) {
  accept('rounds', () => equal(toHex(verifyRound(beaconKey, round, fromHex(signature))), randomness))
  refuse('another round', () => verifyRound(beaconKey, BigInt(round) + 1n, fromHex(signature)))
}

const { federation_key, chain_id, accepted, refused } = vectors.certificates
const [key, chain] = [fromHex(federation_key), fromHex(chain_id)]
for (const { certificate, fields, message } of accepted) {
  accept('certificates', () => {
    const found = verifyCertificate(fromHex(certificate), key, chain)
    equal(Object.entries(found), Object.entries(fields))
    equal(toHex(certificateMessage(fromHex(certificate))), message)
  })
}
for (const { why, certificate } of refused) {
  refuse(why, () => verifyCertificate(fromHex(certificate), key, chain))
}
refuse('another key', () =>
  verifyCertificate(fromHex(accepted[0].certificate), fromHex(vectors.federation_key.share_keys[0]), chain)
)
equal(decodeCertificate(fromHex(accepted[1].certificate)).loss_reduction, accepted[1].fields.loss_reduction)

for (const { key, signature, message } of vectors.signatures.accepted) {
  accept('signatures', () => verifySignature(fromHex(key), fromHex(signature), fromHex(message)))
}
for (const { why, key, signature, message } of vectors.signatures.refused) {
  refuse(why, () => verifySignature(fromHex(key), fromHex(signature), fromHex(message)))
}
for (const { federation_key, signature, message } of vectors.finality) {
  accept('finalities', () => verifySignature(fromHex(federation_key), fromHex(signature), fromHex(message)))
}

console.log(JSON.stringify({ counts, wrong }))
