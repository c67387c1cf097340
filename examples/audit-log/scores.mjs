// Who trains what, what it is worth, who wins.  Source: docs/PROTOCOL.md, sections 8 to 12.
import { encode, fromHex, hex, text, utf8 } from './records.mjs'
import { Stream, merkleRoot, permutation } from './primitives.mjs'

const UNITS_MAX = 10_000
const NEWCOMER = { units: 0, passed: 0, segment: 0, cycle: 0n, barred: 0n }
const smaller = (a, b) => (a < b ? a : b)
const clamp = (value, low, high) => (value < low ? low : value > high ? high : value)
export const byKey = (a, b) => (a < b ? -1 : a > b ? 1 : 0)
export const lowerMedian = (values) => [...values].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))[(values.length - 1) >> 1]
export const floorDiv = (a, b) => (a - (((a % b) + b) % b)) / b
export const standingOf = (standings, miner) => standings.get(miner) ?? NEWCOMER

export const earned = ({ units_per_miner_max, unit_capacity }, { capacity }) =>
  Number(smaller(BigInt(units_per_miner_max), capacity / unit_capacity))

// Shapes of the model's tensors by name, and how many layers it has (section 12).
function tensors(family, size) {
  const shapes = { stem: {}, layers: [], head: null }
  for (let n = 0; n < size.depth; n += 1) {
    const w = size.width
    const named = (part, ...shape) => ({ [`block.${n}.${part}weight`]: shape, [`block.${n}.${part}bias`]: [shape[0]] })
    if (family === 'mlp') shapes.layers.push(named('', w, n ? w : size.inputs))
    if (family === 'cnn') shapes.layers.push(named('', w, n ? w : size.channels, 3, 3))
    if (family === 'gpt') {
      const attention = [['norm1', w], ['attention', 3 * w, w], ['projection', w, w]]
      const parts = [...attention, ['norm2', w], ['up', 4 * w, w], ['down', w, 4 * w]]
      shapes.layers.push(Object.assign({}, ...parts.map(([name, ...shape]) => named(`${name}.`, ...shape))))
    }
  }
  const { width, classes, context, tied } = size
  if (family === 'gpt') shapes.stem = { 'embedding.tokens': [256, width], 'embedding.positions': [context, width] }
  shapes.head = (name) => {
    const norm = { [`${name}.norm.weight`]: [width], [`${name}.norm.bias`]: [width] }
    if (family === 'gpt') return tied ? norm : { ...norm, [`${name}.weight`]: [256, width] }
    return { [`${name}.weight`]: [classes, family === 'cnn' ? 16 * width : width], [`${name}.bias`]: [classes] }
  }
  return shapes
}

// Weights of each segment.
export function segmentParameters(job) {
  const size = Object.fromEntries(job.sizes.map(({ name, value }) => [text(name), value]))
  const { stem, layers, head } = tensors(text(job.family), size)
  const S = job.segments
  const count = (shapes) => Object.values(shapes).reduce((sum, shape) => sum + shape.reduce((a, b) => a * b), 0)
  const all = Object.assign({}, stem, ...layers, head('head'))
  if (job.mode === 3) return [count(all)]
  if (job.mode === 2) {
    const shards = Array(S).fill(0)
    const weights = Object.entries(all).map(([name, shape]) => [name, count({ shape })])
    weights.sort((a, b) => b[1] - a[1] || byKey(a[0], b[0]))
    for (const [, weight] of weights) shards[shards.indexOf(Math.min(...shards))] += weight
    return shards
  }
  return Array.from({ length: S }, (_, s) => {
    const run = layers.slice(Math.floor((s * layers.length) / S), Math.floor(((s + 1) * layers.length) / S))
    const ownHead = s === S - 1 ? head('head') : job.mode === 0 ? head(`auxiliary.${s}`) : {}
    return count(Object.assign({}, s === 0 ? stem : {}, ...run, ownHead))
  })
}

// One to each of `miners` in their order that still has one left, round after round, at most `most`.
function deal(miners, counts, most) {
  const dealt = []
  const left = new Map(counts)
  while (dealt.length < most && [...left.values()].some((count) => count > 0)) {
    for (const miner of miners) {
      if (left.get(miner) > 0 && dealt.length < most) {
        dealt.push(miner)
        left.set(miner, left.get(miner) - 1)
      }
    }
  }
  return dealt
}

// The cycle's work units; `profiles`: miner (hex) -> its profile.  Section 9.
export function assign(params, job, standings, profiles, seed) {
  const miners = permutation('gristmill/assignment/order/v1', seed, [...profiles.keys()].sort(byKey))
  const most = Math.min(UNITS_MAX, Math.floor(job.train_records / job.chunk_records))
  const ask = new Map(miners.map((miner) => [miner, earned(params, profiles.get(miner))]))
  const entitled = new Map(miners.map((miner) => [miner, Math.min(ask.get(miner), standingOf(standings, miner).units)]))
  const beyond = new Map(miners.map((miner) => [miner, ask.get(miner) - entitled.get(miner)]))
  const dealt = deal(miners, entitled, most)
  dealt.push(...deal(miners, beyond, Math.min(params.newcomer_units, most - dealt.length)))

  const [S, n] = [job.segments, dealt.length]
  const first = Number(new Stream('gristmill/assignment/order/v1/segment', seed).below(S))
  const ring = Array.from({ length: S }, (_, place) => (first + place) % S)
  const room = new Map(ring.map((segment, place) => [segment, Math.floor(n / S) + (place < n % S ? 1 : 0)]))
  const segments = Array(n).fill(null)
  const seat = (unit, segment) => {
    segments[unit] = segment
    room.set(segment, room.get(segment) - 1)
  }
  dealt.forEach((miner, unit) => {
    const { units, segment } = standingOf(standings, miner)
    if (units > 0 && room.get(segment) > 0) seat(unit, segment)
  })
  let place = 0
  for (let unit = 0; unit < n; unit += 1) {
    if (segments[unit] !== null) continue
    while (room.get(ring[place % S]) === 0) place += 1
    seat(unit, ring[place++ % S])
  }
  return dealt.map((miner, unit) => ({ unit, miner: fromHex(miner), segment: segments[unit], chunk: unit, steps: job.steps }))
}

export function audited(params, job, revealed, seed) {
  if (hex(job.compression) === hex(utf8('topk'))) return new Set()
  const count = Math.ceil((revealed.length * params.audit_share) / 2 ** 16)
  return new Set(permutation('gristmill/audit/v1', seed, revealed).slice(0, count))
}

// Rows, tickets and what follows from tables of the same units.  Section 10.
export function score({ cycle, params, job, units, tables, references, standings, seed }) {
  const parameters = segmentParameters(job)
  const revealed = tables[0].rows.map(({ unit }) => unit)
  const audits = audited(params, job, revealed, seed)
  const rows = revealed.map((number, place) => {
    const agreed = (column) => lowerMedian(tables.map(({ rows }) => rows[place][column]))
    const { miner, segment, steps } = units[number]
    const R = references[segment]
    const valid = agreed('valid')
    const [gain, advantage] = [BigInt(agreed('gain')), agreed('advantage')]
    const samples = BigInt(steps) * BigInt(job.batch_records)
    const volume = (BigInt(parameters[segment]) * samples) >> BigInt(params.volume_shift)
    const c = valid ? clamp(floorDiv(advantage << 16n, R.advantage), 0n, 1n << 17n) : 0n
    const q = valid ? clamp(floorDiv(gain << 16n, R.gain), 0n, 1n << 16n) : 0n
    const isAudited = audits.has(number)
    return {
      cycle, unit: number, miner, segment, parameters: BigInt(parameters[segment]), samples, valid, gain, advantage, volume,
      coverage: Number(c), quality: Number(q), tickets: 0n, norm: agreed('norm'), cap: R.norm,
      audited: isAudited ? 1 : 0, replay: isAudited ? agreed('replay') : 0,
      merit: smaller((volume * c * c * q) >> 48n, 2n ** 63n - 1n),
    }
  })
  const failed = (row) => row.audited && row.valid && row.replay < params.audit_cosine
  const struck = [...new Set(rows.filter(failed).map((row) => hex(row.miner)))].sort(byKey)
  for (const row of rows) if (struck.includes(hex(row.miner))) row.merit = 0n

  const onTrial = (row) => standingOf(standings, hex(row.miner)).passed < params.trial_audits
  const takesPart = (row) => standingOf(standings, hex(row.miner)).barred <= cycle
  const sum = (chosen) => chosen.filter(takesPart).reduce((total, row) => total + row.merit, 0n)
  const trialsCount = sum(rows.filter((row) => !onTrial(row))) * 2n < sum(rows)
  for (const row of rows) row.tickets = takesPart(row) && (trialsCount || !onTrial(row)) ? row.merit : 0n

  const next = references.map((before, segment) => {
    const own = rows.filter((row) => row.segment === segment && row.merit > 0n)
    const good = own.filter((row) => row.quality >= 2 ** 15)
    const moved = (old, values) => (values.length ? old + floorDiv(lowerMedian(values) - old, 4n) : old)
    const floored = (value) => (value < params.reference_floor ? params.reference_floor : value)
    const norms = good.map((row) => BigInt(row.norm))
    return {
      gain: floored(moved(before.gain, own.map((row) => row.gain))),
      advantage: floored(moved(before.advantage, own.map((row) => row.advantage))),
      norm: before.norm === 0 && norms.length ? Number(lowerMedian(norms)) : Number(moved(BigInt(before.norm), norms)),
    }
  })
  const root = merkleRoot(rows.map((row) => encode('ScoreRow', row)))
  return { rows, struck, next, root, total: rows.reduce((total, row) => total + row.tickets, 0n) }
}

// Standings after Scored of `cycle`.  Section 9.
export function standingsAfter(params, cycle, units, rows, struck, standings) {
  const after = new Map(standings)
  for (const miner of new Set(units.map((unit) => hex(unit.miner)))) {
    const before = standingOf(standings, miner)
    if (before.barred > cycle && !struck.includes(miner)) continue
    const own = rows.filter((row) => hex(row.miner) === miner)
    const passed = own.filter((row) => row.audited && row.valid && row.replay >= params.audit_cosine).length
    after.set(miner, {
      units: own.filter((row) => row.merit > 0n).length,
      segment: units.filter((unit) => hex(unit.miner) === miner).at(-1).segment,
      cycle, barred: 0n, passed: Math.min(before.passed + passed, params.trial_audits),
    })
  }
  const barred = cycle + 1n + BigInt(params.barred_cycles)
  for (const miner of struck) after.set(miner, { units: 0, passed: 0, segment: 0, cycle, barred })
  const kept = ({ units, passed, cycle: last, barred }) =>
    barred > cycle + 1n || ((units > 0 || passed > 0) && cycle - last < BigInt(params.standing_cycles))
  return new Map([...after].filter(([, standing]) => kept(standing)))
}

// Ranks of the draw: [miner (hex), tickets], the winner first.  Section 11.
export function draw(tickets, randomness, ranksMax) {
  const left = [...tickets].filter(([, count]) => count > 0n).sort((a, b) => byKey(a[0], b[0]))
  const stream = new Stream('gristmill/lottery/v1', randomness)
  const ranks = []
  while (left.length && ranks.length < ranksMax) {
    let point = stream.below(left.reduce((sum, [, count]) => sum + count, 0n))
    const place = left.findIndex(([, count]) => (point -= count) < 0n)
    ranks.push(...left.splice(place, 1))
  }
  return ranks
}
