// Who the members are, and when a chain is stale: what chain/epochs.py and chain/light/follow.py
// say, for browsers and Node.  Needs the chain id and the one key, believes no server.
// Source: docs/PROTOCOL.md, section 7, "Members"; docs/INTEROP.md, "Light clients".
import { bytesOf, decodeItems, itemsOf, numberOf } from './records.mjs'
import { taggedHash, toHex, verifySignature } from './verify.bundle.mjs'

const GENESIS_FIELDS = 6 // version, name, created_ms, params, job, members
const PARAMS_AT = 3
const MEMBERS_AT = 5
// Positions in Params; tests/interop/test_light.py holds them against chain/params.py.
export const PARAMS = { registration_ms: 3, training_ms: 4, reveal_ms: 5, evaluation_ms: 6, snapshot_ms: 7, block_ms: 8, ranks_max: 13 }
const STALE_CYCLES = 2
const MEMBERS_MAX = 63
const FEW_MEMBERS = [2, 3] // more to fail than one alone, and still no fault is tolerated

const strong = (n) => Math.floor((n + Math.floor((n - 1) / 3)) / 2) + 1

// What a page needs of a genesis record whose digest is `chainId`; throws for any other.
export function openGenesis(data, chainId) {
  const digest = toHex(taggedHash('gristmill.genesis/1', data))
  if (digest !== toHex(chainId)) throw new Error(`the genesis record is of chain ${digest}`)
  const fields = itemsOf(decodeItems(data), GENESIS_FIELDS, 'the genesis record')
  return { chainId, members: fields[MEMBERS_AT].raw, staleS: STALE_CYCLES * cycleS(fields[PARAMS_AT]) }
}

// The longest that a cycle takes by its phases, whole seconds, all ranks failing.
function cycleS(params) {
  const items = itemsOf(params, undefined, 'the parameters')
  const of = (name) => numberOf(items[PARAMS[name]], name)
  const phases = ['registration_ms', 'training_ms', 'reveal_ms', 'evaluation_ms', 'snapshot_ms']
  const ms = phases.reduce((sum, name) => sum + of(name), of('block_ms') * of('ranks_max'))
  return Math.ceil(ms / 1000)
}

function decodeEpoch(field) {
  const [chain, epoch, members, commitments, , activation] = itemsOf(field, 6, 'an epoch\'s certificate')
  return {
    digest: toHex(taggedHash('gristmill.federation-key/1', field.raw)),
    chain: bytesOf(chain, 32, 'its chain id'),
    epoch: numberOf(epoch, 'its epoch'),
    members: members.raw,
    list: itemsOf(members, undefined, 'its members').map(decodeMember),
    commitments: itemsOf(commitments, undefined, 'its commitments').map((each) => bytesOf(each, 96, 'a commitment')),
    activation: bytesOf(activation, 48, 'its signature'),
  }
}

function decodeMember(field) {
  const [operator, key, tls, link, api] = itemsOf(field, 5, 'a member').map((each) => bytesOf(each, undefined, 'a member'))
  bytesOf({ bytes: key }, 33, 'a member\'s key')
  const name = new TextDecoder().decode(operator)
  return { name, distinct: { key: toHex(key), certificate: toHex(tls), link: toHex(link), address: toHex(api) } }
}

// Throws if nobody may have these members.
function checkMembers({ epoch, list }) {
  if (list.length < 1 || list.length > MEMBERS_MAX) throw new Error(`epoch ${epoch} has ${list.length} members`)
  if (epoch > 0 && FEW_MEMBERS.includes(list.length)) throw new Error(`epoch ${epoch}: ${list.length} members tolerate no fault`)
  for (const what of epoch > 0 ? ['key', 'certificate', 'link', 'address'] : ['key']) {
    const values = new Set(list.map((member) => member.distinct[what]))
    if (values.size !== list.length) throw new Error(`epoch ${epoch}: two members have one ${what}`)
  }
}

// Throws if it is not the certificate of an epoch of this chain.
function verifyEpoch(found, key, chainId) {
  const { epoch, commitments } = found
  if (toHex(found.chain) !== toHex(chainId)) throw new Error(`epoch ${epoch} is of chain ${toHex(found.chain)}`)
  if (commitments.length !== strong(found.list.length) || toHex(commitments[0]) !== toHex(key)) {
    throw new Error(`epoch ${epoch} shares another key, or shares it otherwise`)
  }
  checkMembers(found)
  const number = new Uint8Array(4)
  new DataView(number.buffer).setUint32(0, epoch)
  const members = taggedHash('gristmill.members/1', found.members)
  verifySignature(key, found.activation, taggedHash('gristmill/activation/v1', chainId, number, members, ...commitments))
}

// The chain of epochs, from epoch 0 on.
export class Epochs {
  constructor(key, genesis) {
    Object.assign(this, { key, genesis, known: [] })
  }

  // Takes the bytes of a server's answer; returns how many epochs were in it.
  add(data) {
    const certificates = itemsOf(decodeItems(data), undefined, 'the epochs')
    for (const found of certificates.map(decodeEpoch)) this.addOne(found)
    return certificates.length
  }

  addOne(found) {
    const here = this.known[found.epoch]
    if (here) {
      if (here.digest !== found.digest) throw new Error(`epoch ${found.epoch} has two certificates: a fault of the federation`)
      return
    }
    if (found.epoch !== this.known.length) throw new Error(`epoch ${found.epoch} came; epoch ${this.known.length} is next`)
    verifyEpoch(found, this.key, this.genesis.chainId)
    if (found.epoch === 0 && toHex(found.members) !== toHex(this.genesis.members)) {
      throw new Error('epoch 0 has other members than the genesis record')
    }
    this.known.push(found)
  }

  // The epoch whose members a block's certificate names; throws if it is none of these.
  named(fields) {
    const found = this.known.find(({ digest, epoch }) => digest === fields.next_federation && epoch >= fields.epoch)
    if (!found) throw new Error(`the newest certificate names members of none of the ${this.known.length} epochs known here`)
    return found
  }
}
