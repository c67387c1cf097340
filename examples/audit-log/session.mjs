// One session: the ceremony in which a sharing of the federation key is made.  Source: docs/PROTOCOL.md, section 5.
import { createDecipheriv } from 'node:crypto'
import { x25519 } from '@noble/curves/ed25519.js'
import { expand, extract } from '@noble/hashes/hkdf.js'
import { big, check, hex, join, pack, same, utf8 } from './records.mjs'
import { ORDER, evaluate, g2, integer, mod, point, quorums, sha256, taggedHash, times, weightsAtZero } from './primitives.mjs'

const [KEYS, DEALING, COMPLAINT, DONE, FAILED] = [1, 2, 3, 4, 5]

// HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, empty aad; throws if it does not open.
function hpkeOpen(secret, sealed, info) {
  const labeled = (suite) => ({
    extract: (salt, label, ikm) => extract(sha256, join(utf8('HPKE-v1'), suite, utf8(label), ikm), salt),
    expand: (key, label, context, size) =>
      expand(sha256, key, join(big(size, 2), utf8('HPKE-v1'), suite, utf8(label), context), size),
  })
  const none = new Uint8Array()
  const enc = sealed.subarray(0, 32)
  const kem = labeled(join(utf8('KEM'), big(0x20, 2)))
  const shared = kem.expand(
    kem.extract(none, 'eae_prk', x25519.getSharedSecret(secret, enc)),
    'shared_secret',
    join(enc, x25519.getPublicKey(secret)),
    32
  )
  const suite = labeled(join(utf8('HPKE'), big(0x20, 2), big(1, 2), big(3, 2)))
  const context = join(big(0, 1), suite.extract(none, 'psk_id_hash', none), suite.extract(none, 'info_hash', info))
  const key = suite.extract(shared, 'secret', none)
  const nonce = suite.expand(key, 'base_nonce', context, 12)
  const cipher = createDecipheriv('chacha20-poly1305', suite.expand(key, 'key', context, 32), nonce, { authTagLength: 16 })
  cipher.setAuthTag(sealed.subarray(-16))
  return join(cipher.update(sealed.subarray(32, -16)), cipher.final())
}

function ofLowOrder(key) {
  try {
    x25519.getSharedSecret(big(1, 32), key)
    return false
  } catch {
    return true
  }
}

export class Session {
  phase = KEYS
  keys = new Map() // receiver -> its X25519 keys, by dealer
  dealings = new Map() // dealer -> {message, commitments as points, stands, out}, in log order
  ready = new Set()
  complaints = new Set()

  // `old`: commitments of the sharing before, or null at genesis.
  constructor({ chainId, epoch, attempt, receivers, dealers, old }) {
    Object.assign(this, { chainId, epoch, attempt, receivers, dealers, old })
    this.threshold = quorums(receivers.length).strong
    this.needed = old ? old.length : this.threshold
    const fields = [chainId, epoch, attempt, this.threshold, receivers, ...(old ? [dealers, old] : [])]
    this.id = taggedHash(old ? 'dkg.resharing/1' : 'dkg.session/1', pack(fields))
  }

  static of = {
    'dkg.keys/1': 'hearKeys',
    'dkg.dealing/1': 'hearDealing',
    'dkg.complaint/1': 'hearComplaint',
    'dkg.ready/1': 'hearReady',
  }

  hear(tag, message, author) {
    check(same(message.session, this.id), 'another session')
    const index = (tag === 'dkg.dealing/1' ? this.dealers : this.receivers).findIndex((key) => same(key, author))
    check(index >= 0, 'not in this role')
    this[Session.of[tag]](message, index)
  }

  hearKeys({ keys }, index) {
    check(this.phase === KEYS && !this.keys.has(index), 'phase, or twice')
    check(keys.length === this.dealers.length, 'one key for each dealer')
    check(!keys.some(ofLowOrder), 'a key of low order')
    this.keys.set(index, keys)
  }

  hearDealing(message, dealer) {
    check(this.phase === DEALING && !this.dealings.has(dealer), 'phase, or twice')
    const commitments = message.commitments.map((each) => point(g2, each))
    this.dealings.set(dealer, { message, commitments, stands: this.#stands(message, commitments, dealer), out: false })
  }

  #stands({ commitments: bytes, ciphertexts, proof_point, proof_scalar }, commitments, dealer) {
    if (bytes.length !== this.threshold || ciphertexts.length !== this.keys.size) return false
    const R = point(g2, proof_point)
    if (R === null || commitments.includes(null)) return false
    if (this.old && !commitments[0].equals(evaluate(this.old.map((each) => point(g2, each)), dealer))) return false
    const s = integer(proof_scalar)
    const c = mod(integer(taggedHash('dkg.proof-of-knowledge/1', pack([this.id, dealer, bytes, proof_point]))))
    return s < ORDER && times(g2.Point.BASE, s).subtract(times(commitments[0], c)).equals(R)
  }

  hearComplaint({ dealer, secret_key }, receiver) {
    const dealing = this.dealings.get(dealer)
    check(this.phase === COMPLAINT && this.keys.has(receiver), 'phase, or no keys')
    check(!this.complaints.has(`${receiver} ${dealer}`), 'twice')
    check(dealing?.stands && !dealing.out, 'this dealing does not stand')
    check(same(x25519.getPublicKey(secret_key), this.keys.get(receiver)[dealer]), 'another key was announced')
    this.complaints.add(`${receiver} ${dealer}`)
    dealing.out = !this.#fits(dealing, dealer, receiver, secret_key)
  }

  #fits({ message, commitments }, dealer, receiver, secret) {
    const place = [...this.keys.keys()].sort((a, b) => a - b).indexOf(receiver)
    const info = taggedHash('dkg.share/1', pack([this.id, dealer, receiver, message.commitments]))
    try {
      const share = integer(hpkeOpen(secret, message.ciphertexts[place], info))
      return share > 0n && share < ORDER && times(g2.Point.BASE, share).equals(evaluate(commitments, receiver))
    } catch {
      return false
    }
  }

  hearReady({ phase }, receiver) {
    check(this.phase === COMPLAINT && phase === COMPLAINT && this.keys.has(receiver) && !this.ready.has(receiver), 'not ready')
    this.ready.add(receiver)
  }

  surviving() {
    return [...this.dealings].filter(([, { stands, out }]) => stands && !out).map(([dealer]) => dealer)
  }

  // Goes on as far as the phase's work is done; `closed`: the clocks ended a resharing's phase.
  step(closed = false) {
    const enough = this.old ? this.threshold : 0
    if (this.phase === KEYS && (this.keys.size === this.receivers.length || closed)) {
      this.phase = this.keys.size >= enough ? DEALING : FAILED
    } else if (this.phase === DEALING && (this.dealings.size === this.dealers.length || closed)) {
      this.phase = this.surviving().length >= this.needed ? COMPLAINT : FAILED
    } else if (this.phase === COMPLAINT && this.surviving().length < this.needed) {
      this.phase = FAILED
    } else if (this.phase === COMPLAINT && (this.ready.size === this.keys.size || closed)) {
      this.phase = this.ready.size >= enough && this.#finish() ? DONE : FAILED
    } else return false
    return true
  }

  #finish() {
    this.qualified = this.surviving().slice(0, this.needed)
    const weights = this.old ? weightsAtZero(this.qualified) : this.qualified.map(() => 1n)
    const sums = Array.from({ length: this.threshold }, (_, k) =>
      this.qualified
        .map((dealer, place) => times(this.dealings.get(dealer).commitments[k], weights[place]))
        .reduce((sum, each) => sum.add(each))
    )
    if (sums.some((each) => each.is0())) return false
    this.commitments = sums.map((each) => each.toBytes())
    check(!this.old || hex(this.commitments[0]) === hex(this.old[0]), 'the key must stay')
    return true
  }
}

export { KEYS, DEALING, COMPLAINT, DONE, FAILED }
