// The federation's state, as it follows from the ordered operations.  Source: docs/PROTOCOL.md, section 7.
import { certificateBody, genesisBlock, headerOf } from './blocks.mjs'
import { Members } from './members.mjs'
import { HANDLERS } from './operations.mjs'
import { P, PURPOSE, STEPS } from './phases.mjs'
import { combine, quorums, sha256, taggedHash } from './primitives.mjs'
import { big, check, decode, encode, hex, recordOf, same, tagOf, utf8 } from './records.mjs'
import { Session } from './session.mjs'

export class Fold {
  leaves = [] // [tag, body] that followed since they were taken
  cycle = 0n
  standings = new Map()
  nextRegistered = new Map()
  revealedLast = new Set()
  height = 0

  // `log`: the tree over everything before; what follows is appended to it here.
  constructor(genesis, chainId, log) {
    const { params, job, members } = genesis
    Object.assign(this, { params, job, members, chainId, log, epoch: 0, boundary: 0n })
    this.randomness = chainId
    this.model = job.genesis_model
    const reference = { gain: params.gain_reference_micronats, advantage: params.advantage_reference, norm: 0 }
    this.references = Array(job.segments).fill(reference)
    this.tip = genesisBlock(genesis, chainId)
    this.change = new Members(this)
    this.#enter(P.KEYGEN)
    this.#ceremony(0)
  }

  get quorum() {
    return quorums(this.members.length)
  }

  emit(name, record) {
    const leaf = encode('Leaf', { tag: utf8(tagOf(name)), body: encode(name, record) })
    this.leaves.push(leaf)
    this.log.add(leaf)
  }

  // Executes one operation of `author`, then whatever it makes possible; throws if it is refused.
  execute(tag, body, author, now, sequence) {
    Object.assign(this, { now, sequence })
    const index = this.members.findIndex(({ key }) => same(key, author))
    const handler = HANDLERS[tag]
    check(handler !== undefined, `no operation ${tag}`)
    const message = decode(recordOf(tag), body)
    if (handler.member) check(index >= 0, 'not-a-replica')
    if (handler.phases) check(handler.phases.includes(this.phase), 'wrong-phase')
    handler.hear(this, message, index >= 0 && handler.member ? index : author, tag)
    this.goOn()
  }

  goOn() {
    for (;;) {
      const moved = this.#step()
      if (!this.change.step() && !moved) return
    }
  }

  // What becomes of the state when the last batch of an epoch was executed.
  afterBatch(sequence) {
    if (this.change.rebase(sequence)) this.goOn()
  }

  #enter(phase, attempt = 0) {
    this.phase = phase
    this.attempt = attempt
    this.elapsed = new Set()
    this.shares = new Map()
  }

  #again() {
    this.attempt = (this.attempt + 1) % 256
    this.elapsed = new Set()
  }

  #ceremony(attempt) {
    const keys = this.members.map(({ key }) => key)
    this.session = new Session({ chainId: this.chainId, epoch: 0, attempt, receivers: keys, dealers: keys, old: null })
  }

  #timeOver() {
    return this.elapsed.size >= this.quorum.weak
  }

  #step() {
    return STEPS[this.phase](this, {
      enter: (phase, attempt) => (this.#enter(phase, attempt), true),
      again: () => (this.#again(), true),
      timeOver: this.#timeOver(),
      ceremony: (attempt) => this.#ceremony(attempt),
    })
  }

  close(reason) {
    this.change.expire(this.cycle)
    this.emit('CycleClosed', { cycle: this.cycle, reason })
    this.revealedLast = new Set([...this.revealed].map((unit) => hex(this.units[unit].miner)))
    this.open(this.cycle + 1n)
    return true
  }

  open(cycle) {
    this.cycle = cycle
    this.registered = this.nextRegistered
    this.nextRegistered = new Map()
    Object.assign(this, { units: [], committed: new Map(), revealed: new Set(), ranks: [], rows: [] })
    Object.assign(this, { tables: new Map(), votes: new Map(), seen: new Map() })
    this.#enter(P.REGISTRATION)
  }

  // The signature that this phase waits for: its name and message, or null.
  awaited() {
    const at = (purpose, subject, rank, message) => ({ purpose, subject: BigInt(subject), rank, message })
    if (this.phase === P.ACTIVATION) return at(PURPOSE.ACTIVATION, this.epoch, 0, this.activation)
    if (this.phase === P.CHALLENGE || this.phase === P.DRAW) {
      const round = 2n * this.cycle + (this.phase === P.DRAW ? 1n : 0n)
      return at(PURPOSE.BEACON, round, 0, sha256(big(round, 8)))
    }
    if (this.phase === P.CERTIFICATION) {
      return at(PURPOSE.CERTIFICATE, this.cycle, this.rank, taggedHash('gristmill/certificate/v1', this.body))
    }
    if (this.phase !== P.FINALITY) return null
    const block = [this.chainId, big(this.height + 1, 4), headerOf(this.chosen).hash]
    return at(PURPOSE.FINALITY, this.cycle, this.rank, taggedHash('gristmill/finality/v1', ...block))
  }

  // The federation's signature once t good shares of it are here.
  signature() {
    const good = [...this.shares].filter(([, share]) => share !== null)
    return good.length < this.commitments.length ? null : combine(good)
  }

  certification(rank) {
    this.rank = rank
    const { miner, tickets } = this.ranks[rank]
    const own = this.rows.filter((row) => same(row.miner, miner) && row.tickets > 0n)
    const sum = (column) => own.reduce((total, row) => total + row[column], 0n)
    const now = this.now / 1000n
    const notBefore = now > BigInt(this.tip.time) + 1n ? now : BigInt(this.tip.time) + 1n
    const end = now + (4n * this.params.block_ms) / 1000n
    this.window = [notBefore, end > notBefore ? end : notBefore]
    this.body = certificateBody({
      chainId: this.chainId, epoch: this.epoch, cycle: this.cycle, height: this.height + 1, rank, parent: this.tip.hash,
      notBefore, notAfter: this.window[1], nonce: this.randomness, winner: miner, parameters: sum('parameters'), gain: sum('gain'),
      tickets, total: this.total, contributions: this.contributions, logRoot: this.log.root(), logSize: this.log.size,
      model: this.model, federation: this.federation,
    })
  }
}
