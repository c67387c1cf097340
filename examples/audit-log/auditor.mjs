// Takes a score log's entries one by one.  Source: docs/PROTOCOL.md, sections 4 and 15.
import { Fold } from './fold.mjs'
import { Wrong, check, decode, encode, hex, join, pack, same, text, utf8 } from './records.mjs'
import { Tree, open, preimage, quorums, sha256, taggedHash, verifyEcdsa } from './primitives.mjs'

const LEAF_BYTES_MAX = 65_535
const CLIENTS_MAX = 10_000
const WINDOW = 64n

class Log extends Tree {
  add(leaf) {
    const byDigest = () => encode('Leaf', { tag: utf8('log.by-digest/1'), body: pack([leaf.length, sha256(leaf)]) })
    this.append(leaf.length <= LEAF_BYTES_MAX ? leaf : byDigest())
  }
}

// Which numbers of each client were executed.
class Clients {
  #numbers = new Map()
  fresh(client, number) {
    const marked = this.#numbers.get(client)
    if (!marked) return true
    return number > marked.highest || (marked.highest - number < WINDOW && !marked.executed.has(number))
  }

  mark(client, number) {
    const { highest, executed } = this.#numbers.get(client) ?? { highest: -1n, executed: new Set() }
    this.#numbers.delete(client)
    this.#numbers.set(client, { highest: number > highest ? number : highest, executed: executed.add(number) })
    if (this.#numbers.size > CLIENTS_MAX) this.#numbers.delete(this.#numbers.keys().next().value)
  }
}

export class Auditor {
  constructor(genesisBytes) {
    const genesis = decode('Genesis', genesisBytes)
    this.chainId = taggedHash('gristmill.genesis/1', genesisBytes)
    this.log = new Log()
    this.fold = new Fold(genesis, this.chainId, this.log)
    this.clients = new Clients()
    this.sequence = 0n
    this.agreed = 0n
    this.expected = []
    this.entries = 0
  }

  // Takes the next encoded log entry; throws at the first that does not follow.
  take(data) {
    const { index, leaf, proof } = decode('LogEntry', data)
    check(Number(index) === this.entries, `index ${index} stands at place ${this.entries}`)
    const { tag, body } = decode('Leaf', leaf)
    if (this.expected.length) {
      check(same(leaf, this.expected[0]), `entry ${index}: ${text(tag)} does not follow`)
      check(proof.length === 0, 'a derived leaf has no proof')
      this.expected.shift()
    } else {
      check(same(tag, utf8('log.ordered/1')), `entry ${index}: ${text(tag)} follows from nothing`)
      this.log.add(leaf)
      this.#ordered(decode('Ordered', body), proof)
    }
    this.entries += 1
  }

  #ordered({ sequence, agreed_ms, batch }, proof) {
    check(sequence === this.sequence + 1n, `batch ${sequence} stands behind ${this.sequence}`)
    this.sequence = sequence
    this.#prove(sequence, taggedHash('bft.batch/1', batch), decode('QuorumProof', proof))
    const { timestamp_ms, requests } = decode('Batch', batch)
    if (timestamp_ms > this.agreed) this.agreed = timestamp_ms
    check(agreed_ms === this.agreed, `agreed time ${agreed_ms}, but the batches say ${this.agreed}`)
    for (const sealed of requests) this.#request(sealed)
    this.fold.afterBatch(sequence)
    this.expected = this.fold.leaves.splice(0)
  }

  #prove(sequence, digest, { view, signatures }) {
    const { members, epoch } = this.fold
    check(signatures.length === quorums(members.length).strong, 'a quorum proof has a strong quorum of signatures')
    signatures.forEach(({ replica, signature }, place) => {
      check(replica < members.length && (place === 0 || replica > signatures[place - 1].replica), 'signers ascend')
      const commit = encode('Commit', { chain_id: this.chainId, epoch, view, sequence, digest, replica })
      const signed = verifyEcdsa(members[replica].key, signature, preimage('pbft.commit/1', commit))
      check(signed, `bad commit of replica ${replica} for batch ${sequence}`)
    })
  }

  #request(sealed) {
    const { record, signer } = open('bft.request/1', sealed)
    const own = same(record.client, signer) && same(record.chain_id, this.chainId)
    check(own, 'a request is signed by its client for this chain')
    const client = hex(signer)
    if (!this.clients.fresh(client, record.cseq)) return
    const taken = (operation) => !refused(() => this.#execute(operation, signer))
    let accepted
    if (refused(() => (accepted = split(record.operation).map(taken)))) return
    if (accepted.includes(true)) this.clients.mark(client, record.cseq)
  }

  #execute(operation, author) {
    const { tag, body } = decode('Operation', operation)
    this.fold.execute(text(tag), body, author, this.agreed, this.sequence)
  }
}

// Whether `act` refuses; what is no refusal but a mistake of ours goes on.
function refused(act) {
  try {
    act()
    return false
  } catch (error) {
    if (error instanceof Wrong) return true
    throw error
  }
}

const begins = (data, tag) => same(data.subarray(0, 3 + tag.length), join(Uint8Array.of(0x92, 0xc4, tag.length), utf8(tag)))

// The encoded operations of a request: one, or those of a list.
export function split(data) {
  if (!begins(data, 'gristmill.commands/1')) return [data]
  const { operations } = decode('Commands', decode('Operation', data).body)
  check(!operations.some((each) => begins(each, 'gristmill.show-evidence/1')), 'evidence is alone in its request')
  return operations
}
