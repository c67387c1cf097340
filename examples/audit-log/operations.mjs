// Which operations are taken, and from whom.  Source: docs/PROTOCOL.md, section 7.
//
// A refusal is a `Wrong` with the word of that section; whoever refuses has changed nothing.
import { certificateOf, headerOf, winnersMessage } from './blocks.mjs'
import { Members } from './members.mjs'
import { P, TIMED, heldoutPredictions } from './phases.mjs'
import { evaluate, g2, open, point, taggedHash, verifyBls, verifyEcdsa } from './primitives.mjs'
import { big, check, encode, hex, same } from './records.mjs'
import { earned, segmentParameters, standingOf } from './scores.mjs'
import { Session } from './session.mjs'

const RECEIPT_BYTES_MAX = 1024

// Who registers for which cycle, and who may not.
function hearRegister(fold, { cycle, profile }, author) {
  const now = fold.phase === P.REGISTRATION
  const miner = hex(author)
  const list = now ? fold.registered : fold.nextRegistered
  const standing = standingOf(fold.standings, miner)
  check(cycle === fold.cycle + (now ? 0n : 1n), 'wrong-cycle')
  check(!fold.members.some(({ key }) => same(key, author)) && !fold.change.names(author), 'replica')
  check(!list.has(miner), 'twice')
  check(standing.barred <= cycle, 'barred')
  check(list.size < fold.params.miners_max || standing.units > 0, 'full')
  check(earned(fold.params, profile) > 0, 'too-small')
  list.set(miner, profile)
}

function unitOf(fold, { cycle, unit }, author) {
  check(cycle === fold.cycle && unit < fold.units.length, 'wrong-cycle')
  check(same(fold.units[unit].miner, author), 'not-assigned')
}

function hearCommitment(fold, message, author) {
  unitOf(fold, message, author)
  check(!fold.committed.has(message.unit), 'twice')
  fold.committed.set(message.unit, message.commitment)
}

function hearReveal(fold, message, author) {
  const { cycle, unit, salt, digest, size, parameters, receipts } = message
  unitOf(fold, message, author)
  check(fold.committed.has(unit), 'not-committed')
  check(!fold.revealed.has(unit), 'twice')
  const commitment = taggedHash('gristmill/commitment/v1', fold.chainId, big(cycle, 8), big(unit, 4), author, digest, salt)
  check(same(commitment, fold.committed.get(unit)), 'mismatch')
  check(size > 0 && size <= fold.params.update_bytes_max, 'too-long')
  check(parameters === BigInt(segmentParameters(fold.job)[fold.units[unit].segment]), 'wrong-parameters')
  const expected = encode('StorageReceipt', { chain_id: fold.chainId, cycle, miner: author, digest, size })
  const stored = receipts.slice(0, fold.quorum.n).map((sealed) => storedBy(fold, sealed, expected))
  check(new Set(stored.filter((index) => index >= 0)).size >= fold.quorum.weak, 'unavailable')
  fold.revealed.add(unit)
}

// Index of the member that sealed exactly this receipt, or -1.
function storedBy(fold, sealed, expected) {
  try {
    check(sealed.length <= RECEIPT_BYTES_MAX, 'too long')
    const { record, signer } = open('gristmill.storage-receipt/1', sealed)
    return same(encode('StorageReceipt', record), expected) ? fold.members.findIndex(({ key }) => same(key, signer)) : -1
  } catch {
    return -1
  }
}

function hearEvidence(fold, { certificate, first, second }) {
  const { version, chainId, cycle, height, rank, winner, notBefore, notAfter, message, signature } = certificateOf(certificate)
  const miner = hex(winner)
  const until = cycle + 1n + BigInt(fold.params.barred_cycles)
  check(version === 1, 'malformed')
  check(same(chainId, fold.chainId), 'other-chain')
  check(cycle <= fold.cycle, 'wrong-cycle')
  check(until > fold.cycle + 1n, 'too-old')
  check(standingOf(fold.standings, miner).barred < until, 'twice')
  const [one, other] = [first, second].map((block) => winnersMessage(certificate, block))
  check(!same(one, other), 'one-block')
  const signed = (block, message) => verifyEcdsa(winner, block.signature, message)
  check(signed(first, one) && signed(second, other), 'bad-signature')
  check(notAfter >= notBefore && verifyBls(point(g2, fold.key), signature, message), 'bad-certificate')
  fold.emit('EvidenceShown', { cycle, height, rank, miner: winner, barred_until: until })
  fold.standings.set(miner, { units: 0, passed: 0, segment: 0, cycle, barred: until })
  fold.registered.delete(miner)
  fold.nextRegistered.delete(miner)
}

function hearTable(fold, { cycle, rows }, index) {
  const revealed = [...fold.revealed].sort((a, b) => a - b)
  check(cycle === fold.cycle, 'wrong-cycle')
  check(!fold.tables.has(index), 'twice')
  check(String(rows.map(({ unit }) => unit)) === String(revealed), 'wrong-units')
  check(rows.every(({ valid, replay }) => valid <= 1 && replay <= 2 ** 16), 'out-of-range')
  fold.tables.set(index, { rows })
}

function hearVote(fold, { cycle, models, records }, index) {
  check(cycle === fold.cycle, 'wrong-cycle')
  check(!fold.votes.has(index), 'twice')
  const expected = heldoutPredictions(fold.job)
  check(records === expected && models.length === fold.job.backtracking + 1, 'out-of-range')
  check(models.every(({ correct }) => correct <= records), 'out-of-range')
  fold.votes.set(index, models)
}

function hearShare(fold, { purpose, subject, rank, epoch, share }, index) {
  const wanted = fold.awaited()
  const fits = wanted && purpose === wanted.purpose && subject === wanted.subject && rank === wanted.rank && epoch === fold.epoch
  check(fits, 'late')
  check(!fold.shares.has(index), 'twice')
  const good = verifyBls(evaluate(fold.commitments.map((each) => point(g2, each)), index), share, wanted.message)
  fold.shares.set(index, good ? share : null)
}

function hearSeen(fold, { cycle, rank, header }, index) {
  const { previous, time } = headerOf(header)
  check(cycle === fold.cycle && rank === fold.rank, 'late')
  check(!fold.seen.has(index), 'twice')
  check(same(previous, fold.tip.hash), 'wrong-parent')
  check(BigInt(time) >= fold.window[0] && BigInt(time) <= fold.window[1], 'wrong-time')
  fold.seen.set(index, hex(header))
}

function hearElapsed(fold, { cycle, phase, attempt }, index) {
  check(cycle === fold.cycle && phase === fold.phase && attempt === fold.attempt, 'late')
  check(TIMED.includes(phase), 'untimed')
  check(!fold.elapsed.has(index), 'twice')
  fold.elapsed.add(index)
}

const SIGNING = [P.ACTIVATION, P.CHALLENGE, P.DRAW, P.CERTIFICATION, P.FINALITY]
const all = (kind, handler) => Object.fromEntries(Object.keys(kind.of).map((tag) => [tag, handler(tag)]))
const running = Object.values(P).filter((phase) => phase >= P.REGISTRATION)
export const HANDLERS = {
  'gristmill.register/1': { phases: running, hear: hearRegister },
  'gristmill.update-commitment/1': { phases: [P.TRAINING], hear: hearCommitment },
  'gristmill.update-reveal/1': { phases: [P.REVEAL], hear: hearReveal },
  'gristmill.show-evidence/1': { phases: running, hear: hearEvidence },
  'gristmill.evaluation/1': { member: true, phases: [P.EVALUATION], hear: hearTable },
  'gristmill.snapshot-vote/2': { member: true, phases: [P.AGGREGATION], hear: hearVote },
  'gristmill.signature-share/1': { member: true, phases: SIGNING, hear: hearShare },
  'gristmill.block-seen/1': { member: true, phases: [P.BLOCK], hear: hearSeen },
  'gristmill.elapsed/1': { member: true, hear: hearElapsed },
  ...all(Session, (tag) => ({ hear: (fold, message, author) => hearSession(fold, tag, message, author) })),
  ...all(Members, (tag) => ({ phases: running, hear: (fold, message, author) => fold.change.hear(tag, message, author) })),
}

function hearSession(fold, tag, message, author) {
  if (fold.phase === P.KEYGEN) fold.session.hear(tag, message, author)
  else fold.change.hearSession(tag, message, author)
}
