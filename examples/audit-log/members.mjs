// A change of members, beside the cycle.  Source: docs/PROTOCOL.md, section 7, "Members", and section 5.
import { check, encode, hex, same, text } from './records.mjs'
import { activationMessage, combine, evaluate, g2, point, quorums, taggedHash, verifyBls } from './primitives.mjs'
import { DEALING, DONE, FAILED, KEYS, Session } from './session.mjs'

const [NONE, PROPOSED, RESHARING, PROOF, ACTIVATION, ENDING] = ['none', 'proposed', 'resharing', 'proof', 'activation', 'ending']
const VOID = { WITHDRAWN: 0, EXPIRED: 1, FAILED: 2 }
const EXPIRES_AFTER = 32n
const ATTEMPTS_MAX = 4
const MEMBERS_MAX = 63

const UNSHOWN = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/

export function printable(bytes) {
  try {
    return !UNSHOWN.test(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    return false
  }
}

export function isAddress(bytes) {
  const [, port] = text(bytes).match(/^[!-~]+:(\d+)$/) ?? []
  return port !== undefined && Number(port) > 0 && Number(port) < 65_536 && !/[/?#@\\]/.test(text(bytes))
}

export class Members {
  stage = NONE

  constructor(fold) {
    this.fold = fold
  }

  static of = {
    'gristmill.propose/1': 'propose',
    'gristmill.approve/1': 'approve',
    'gristmill.withdraw/1': 'withdraw',
    'gristmill.ceremony-elapsed/1': 'hearElapsed',
    'gristmill.share-proof/1': 'hearProof',
    'gristmill.activation-share/1': 'hearActivation',
  }

  // Whether `key` is that of a proposed or activated member.
  names(key) {
    return this.stage !== NONE && this.members.some((member) => same(member.key, key))
  }

  hear(tag, message, author) {
    this[Members.of[tag]](message, author)
  }

  #old(author) {
    const index = this.fold.members.findIndex(({ key }) => same(key, author))
    check(index >= 0, 'not-a-replica')
    return index
  }

  propose(message, author) {
    const index = this.#old(author)
    const { epoch, members, reason } = message
    check(this.stage === NONE && epoch === this.fold.epoch + 1, 'another change is under way, or another epoch')
    check(printable(reason) && (members.length === 1 || members.length >= 4) && members.length <= MEMBERS_MAX, 'no list')
    for (const field of ['key', 'tls_certificate', 'link', 'api']) {
      check(new Set(members.map((member) => hex(member[field]))).size === members.length, `two have one ${field}`)
    }
    check(members.every(({ operator, link, api }) => printable(operator) && isAddress(link) && isAddress(api)), 'names and addresses')
    const { registered, nextRegistered, units } = this.fold
    const miners = [...registered.keys(), ...nextRegistered.keys(), ...units.map(({ miner }) => hex(miner))]
    check(!members.some(({ key }) => miners.includes(hex(key))), 'a miner')
    Object.assign(this, { stage: PROPOSED, members, proposer: hex(author), approvals: new Set([index]), made: this.fold.cycle })
    this.proposal = taggedHash('gristmill.propose/1', encode('Propose', message))
  }

  approve({ proposal }, author) {
    const index = this.#old(author)
    check(this.stage === PROPOSED && same(proposal, this.proposal) && !this.approvals.has(index), 'nothing to approve')
    this.approvals.add(index)
  }

  withdraw({ proposal }, author) {
    this.#old(author)
    const own = same(proposal, this.proposal ?? author) && hex(author) === this.proposer
    check(this.stage === PROPOSED && own, 'nothing to withdraw')
    this.#void(VOID.WITHDRAWN)
  }

  hearSession(tag, message, author) {
    check(this.stage === RESHARING, 'wrong-phase')
    this.session.hear(tag, message, author)
  }

  hearElapsed({ session, phase }, author) {
    const index = this.#old(author)
    check([RESHARING, PROOF].includes(this.stage) && same(session, this.session.id), 'another session')
    check(phase === this.session.phase && !this.clocks.has(index), 'another phase, or twice')
    this.clocks.add(index)
  }

  hearProof({ session, share }, author) {
    const index = this.members?.findIndex(({ key }) => same(key, author)) ?? -1
    check(this.stage === PROOF && same(session, this.session.id) && index >= 0, 'wrong-phase')
    check(!this.shares.has(index), 'twice')
    const { commitments } = this.session
    this.#share(index, share, commitments, taggedHash('gristmill/sharing/v1', session, ...commitments))
  }

  hearActivation({ session, share }, author) {
    const index = this.#old(author)
    check(this.stage === ACTIVATION && same(session, this.session.id) && !this.shares.has(index), 'wrong-phase, or twice')
    const { chainId, epoch, commitments } = this.fold
    this.#share(index, share, commitments, activationMessage(chainId, epoch + 1, this.members, this.session.commitments))
  }

  #share(index, share, commitments, message) {
    const good = verifyBls(evaluate(commitments.map((each) => point(g2, each)), index), share, message)
    this.shares.set(index, good ? share : null)
  }

  #signature(threshold) {
    const good = [...this.shares].filter(([, share]) => share !== null)
    return good.length < threshold ? null : combine(good)
  }

  #void(reason) {
    this.fold.emit('ProposalVoided', { epoch: this.fold.epoch + 1, proposal: this.proposal, reason })
    this.stage = NONE
  }

  expire(cycle) {
    if (this.stage === PROPOSED && this.made <= cycle - EXPIRES_AFTER) this.#void(VOID.EXPIRED)
  }

  #attempt(attempt) {
    const { chainId, epoch, members, commitments } = this.fold
    const keysOf = (list) => list.map(({ key }) => key)
    const [receivers, dealers] = [keysOf(this.members), keysOf(members)]
    this.session = new Session({ chainId, epoch: epoch + 1, attempt, receivers, dealers, old: commitments })
    this.#begin(RESHARING)
  }

  #begin(stage) {
    this.stage = stage
    this.clocks = new Set()
    this.shares = new Map()
  }

  #failed(phase, awaited) {
    const { attempt } = this.session
    this.fold.emit('ResharingFailed', { epoch: this.fold.epoch + 1, attempt, phase, awaited })
    if (attempt + 1 < ATTEMPTS_MAX) this.#attempt(attempt + 1)
    else this.#void(VOID.FAILED)
    return true
  }

  // Who has not spoken in the session's phase.
  #awaited() {
    const { phase, keys, dealings, ready, receivers, dealers } = this.session
    const without = (list, spoke) => list.map((_, index) => index).filter((index) => !spoke.has(index))
    if (phase === KEYS) return without(receivers, keys)
    if (phase === DEALING) return without(dealers, dealings)
    return without(receivers, ready).filter((index) => keys.has(index))
  }

  step() {
    const { fold, session } = this
    if (this.stage === PROPOSED && this.approvals.size >= fold.quorum.strong) {
      const approvals = [...this.approvals].sort((a, b) => a - b)
      fold.emit('MembersApproved', { epoch: fold.epoch + 1, proposal: this.proposal, approvals })
      this.#attempt(0)
      return true
    }
    if (this.stage === RESHARING) return this.#reshare(session)
    if (this.stage === PROOF) {
      const signature = this.#signature(session.threshold)
      if (signature) {
        fold.emit('SharingProven', { epoch: fold.epoch + 1, attempt: session.attempt, signature })
        this.#begin(ACTIVATION)
        return true
      }
      const silent = [...session.keys.keys()].filter((index) => !this.shares.has(index)).sort((a, b) => a - b)
      return this.clocks.size >= fold.quorum.weak && this.#failed(DONE, silent)
    }
    if (this.stage !== ACTIVATION) return false
    const activation = this.#signature(fold.commitments.length)
    return activation ? this.#activate(activation) : false
  }

  #reshare(session) {
    const { phase } = session
    const closed = this.clocks.size >= this.fold.quorum.weak
    const awaited = this.#awaited()
    if (!session.step(closed)) return false
    this.clocks = new Set()
    if (session.phase === FAILED) return this.#failed(closed ? phase : FAILED, closed ? awaited : [])
    if (session.phase === DONE) this.#begin(PROOF)
    return true
  }

  #activate(activation) {
    const { fold, session } = this
    const record = {
      chain_id: fold.chainId, epoch: fold.epoch + 1, members: this.members,
      commitments: session.commitments, qualified: session.qualified, activation,
    }
    const { checkpoint_interval: K, window: L } = fold.params
    this.boundary = ((fold.sequence + BigInt(L) + BigInt(K) - 1n) / BigInt(K)) * BigInt(K)
    fold.federation = taggedHash('gristmill.federation-key/1', encode('FederationKey', record))
    fold.emit('KeyActivated', { federation_key: record, boundary: this.boundary })
    this.stage = ENDING
    return true
  }

  // At the boundary the next epoch's members take over; whether it did.
  rebase(sequence) {
    if (this.stage !== ENDING || sequence < this.boundary) return false
    const { fold } = this
    const before = fold.members
    const places = new Map()
    before.forEach(({ key }, old) => {
      const place = this.members.findIndex((member) => same(member.key, key))
      if (place >= 0) places.set(old, place)
    })
    const stay = ([index]) => places.has(index)
    const moved = (votes) => new Map([...votes].filter(stay).map(([index, vote]) => [places.get(index), vote]))
    for (const votes of ['tables', 'votes', 'seen']) fold[votes] = moved(fold[votes])
    fold.elapsed = new Set([...fold.elapsed].filter((index) => places.has(index)).map((index) => places.get(index)))
    fold.shares = new Map()
    Object.assign(fold, { members: this.members, epoch: fold.epoch + 1, commitments: this.session.commitments })
    this.stage = NONE
    return true
  }
}
