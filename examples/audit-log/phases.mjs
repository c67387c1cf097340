// What ends each phase of a cycle, and what follows then.  Source: docs/PROTOCOL.md, section 7.
//
// Each step gets the fold and `go`, by which it enters a phase; it says whether it has moved.
import { headerOf } from './blocks.mjs'
import { activationMessage, sha256, taggedHash } from './primitives.mjs'
import { encode, fromHex, hex, join, text } from './records.mjs'
import { assign, byKey, draw, lowerMedian, score, standingOf, standingsAfter } from './scores.mjs'
import { DONE, FAILED } from './session.mjs'

const PHASES = [
  ...['KEYGEN', 'ACTIVATION', 'REGISTRATION', 'TRAINING', 'REVEAL', 'CHALLENGE', 'EVALUATION', 'DRAW'],
  ...['AGGREGATION', 'CERTIFICATION', 'BLOCK', 'FINALITY'],
]
export const P = Object.fromEntries(PHASES.map((name, number) => [name, number]))
export const TIMED = [P.KEYGEN, P.REGISTRATION, P.TRAINING, P.REVEAL, P.EVALUATION, P.AGGREGATION, P.BLOCK]
const CLOSED = { BLOCK: 0, NO_MINERS: 1, NO_REVEALS: 2, NO_QUORUM_OF_TABLES: 3, NO_TICKETS: 4, NO_SNAPSHOT: 5, NO_BLOCK: 6 }
export const PURPOSE = { ACTIVATION: 1, BEACON: 2, CERTIFICATE: 3, FINALITY: 4 }

// Held-out predictions: one a record, or for text one for each byte but the first.
export function heldoutPredictions(job) {
  const context = job.sizes.find((size) => text(size.name) === 'context')
  return job.heldout_records * (text(job.family) === 'gpt' ? context.value - 1 : 1)
}

// One step of each phase, if it can be made.
export const STEPS = []
STEPS[P.KEYGEN] = (fold, go) => {
  while (fold.session.step());
  if (fold.session.phase === FAILED || go.timeOver) {
    go.again()
    go.ceremony(fold.session.attempt + 1)
    return true
  }
  if (fold.session.phase !== DONE) return false
  fold.commitments = fold.session.commitments
  fold.activation = activationMessage(fold.chainId, 0, fold.members, fold.commitments)
  return go.enter(P.ACTIVATION)
}
STEPS[P.ACTIVATION] = (fold) => {
  const activation = fold.signature()
  if (!activation) return false
  const { chainId: chain_id, members, commitments, session } = fold
  const record = { chain_id, epoch: 0, members, commitments, qualified: session.qualified, activation }
  fold.key = fold.commitments[0]
  fold.federation = taggedHash('gristmill.federation-key/1', encode('FederationKey', record))
  fold.emit('KeyActivated', { federation_key: record, boundary: 0n })
  fold.open(1n)
  return true
}
STEPS[P.REGISTRATION] = (fold, go) => {
  const waits = [...fold.revealedLast].filter((miner) => standingOf(fold.standings, miner).barred <= fold.cycle)
  const back = waits.length > 0 && waits.every((miner) => fold.registered.has(miner))
  if (!back && !go.timeOver) return false
  if (fold.registered.size === 0) return fold.close(CLOSED.NO_MINERS)
  fold.units = assign(fold.params, fold.job, fold.standings, fold.registered, fold.randomness)
  fold.emit('Assigned', { cycle: fold.cycle, seed: fold.randomness, base: fold.model, units: fold.units })
  fold.registered = new Map()
  return go.enter(P.TRAINING)
}
STEPS[P.TRAINING] = (fold, go) => {
  if (fold.committed.size < fold.units.length && !go.timeOver) return false
  if (fold.committed.size === 0) return fold.close(CLOSED.NO_REVEALS)
  fold.emit('Committed', { cycle: fold.cycle, units: [...fold.committed.keys()].sort((a, b) => a - b) })
  return go.enter(P.REVEAL)
}
STEPS[P.REVEAL] = (fold, go) => {
  if (fold.revealed.size < fold.committed.size && !go.timeOver) return false
  if (fold.revealed.size === 0) return fold.close(CLOSED.NO_REVEALS)
  fold.emit('Revealed', { cycle: fold.cycle, units: [...fold.revealed].sort((a, b) => a - b) })
  return go.enter(P.CHALLENGE)
}
STEPS[P.CHALLENGE] = (fold, go) => beacon(fold, 2n * fold.cycle) && go.enter(P.EVALUATION)
STEPS[P.EVALUATION] = (fold, go) => {
  const { n, strong } = fold.quorum
  if (fold.tables.size < n && !go.timeOver) return false
  if (fold.tables.size < strong) return fold.attempt === 0 ? go.again() : fold.close(CLOSED.NO_QUORUM_OF_TABLES)
  const counted = [...fold.tables].sort((a, b) => a[0] - b[0])
  const tables = counted.map(([, table]) => table)
  const { rows, struck, next, root, total } = score({ ...fold, tables, seed: fold.randomness })
  const agreed = { rows, tickets_total: total, contributions_root: root, struck: struck.map(fromHex) }
  const evaluators = counted.map(([index]) => index)
  fold.emit('Scored', { cycle: fold.cycle, evaluators, references: fold.references, ...agreed })
  Object.assign(fold, { rows, total, contributions: root, references: next })
  fold.standings = standingsAfter(fold.params, fold.cycle, fold.units, rows, struck, fold.standings)
  struck.forEach((miner) => fold.nextRegistered.delete(miner))
  return total === 0n ? fold.close(CLOSED.NO_TICKETS) : go.enter(P.DRAW)
}
STEPS[P.DRAW] = (fold, go) => {
  if (!beacon(fold, 2n * fold.cycle + 1n)) return false
  const tickets = new Map()
  for (const { miner, tickets: count } of fold.rows) tickets.set(hex(miner), (tickets.get(hex(miner)) ?? 0n) + count)
  const ranks = draw(tickets, fold.randomness, fold.params.ranks_max)
  fold.ranks = ranks.map(([miner, count]) => ({ miner: fromHex(miner), tickets: count }))
  fold.emit('Drawn', { cycle: fold.cycle, randomness: fold.randomness, ranks: fold.ranks })
  return go.enter(P.AGGREGATION)
}
STEPS[P.AGGREGATION] = (fold, go) => {
  const groups = new Map()
  for (const models of fold.votes.values()) {
    const digests = models.map(({ digest }) => hex(digest)).join()
    groups.set(digests, [...(groups.get(digests) ?? []), models])
  }
  const agreed = [...groups.values()].find((votes) => votes.length >= fold.quorum.strong)
  if (!agreed) {
    if (!go.timeOver) return false
    return fold.attempt === 0 ? go.again() : fold.close(CLOSED.NO_SNAPSHOT)
  }
  const median = (h, column) => lowerMedian(agreed.map((models) => models[h][column]))
  let halvings = 0
  for (let h = 1; h < agreed[0].length; h += 1) if (median(h, 'challenge_loss') < median(halvings, 'challenge_loss')) halvings = h
  fold.model = agreed[0][halvings].digest
  const records = heldoutPredictions(fold.job)
  const [loss, correct] = [median(halvings, 'loss'), median(halvings, 'correct')]
  fold.emit('Aggregated', { cycle: fold.cycle, digest: fold.model, halvings, loss, correct, records })
  fold.certification(0)
  return go.enter(P.CERTIFICATION)
}
STEPS[P.CERTIFICATION] = (fold, go) => {
  const signature = fold.signature()
  if (!signature) return false
  fold.emit('Certified', { certificate: join(fold.body, signature) })
  return go.enter(P.BLOCK, fold.rank)
}
STEPS[P.BLOCK] = (fold, go) => {
  const votes = [...fold.seen.values()]
  const enough = votes.filter((header) => votes.filter((other) => other === header).length >= fold.quorum.weak).sort(byKey)
  if (enough.length) {
    fold.chosen = fromHex(enough[0])
    return go.enter(P.FINALITY)
  }
  if (!go.timeOver) return false
  fold.emit('RankVoided', { cycle: fold.cycle, rank: fold.rank })
  fold.seen = new Map()
  if (fold.rank + 1 === fold.ranks.length) return fold.close(CLOSED.NO_BLOCK)
  fold.certification(fold.rank + 1)
  return go.enter(P.CERTIFICATION)
}
STEPS[P.FINALITY] = (fold) => {
  const signature = fold.signature()
  if (!signature) return false
  fold.height += 1
  fold.tip = headerOf(fold.chosen)
  fold.emit('BlockFinal', { cycle: fold.cycle, height: fold.height, header: fold.chosen, signature })
  return fold.close(CLOSED.BLOCK)
}

function beacon(fold, round) {
  const signature = fold.signature()
  if (!signature) return false
  fold.emit('BeaconRound', { round, signature })
  fold.randomness = sha256(signature)
  return true
}
