// Records: strict MessagePack, and the fields that docs/RECORDS.md lists.  Source: docs/PROTOCOL.md, section 1.
//
// The page itself is read, so that what it says is what is decoded.  Integers of up to 32 bits are
// Numbers, wider ones BigInts, bytes are Uint8Arrays; a record is an object by the names of its fields.
import { readFileSync } from 'node:fs'

export class Wrong extends Error {}

export function check(condition, why) {
  if (!condition) throw new Wrong(why)
}

export function join(...parts) {
  const joined = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
export const utf8 = (text) => new TextEncoder().encode(text)
export const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16))
export const text = (bytes) => new TextDecoder().decode(bytes)
export const same = (a, b) => a.length === b.length && a.every((byte, place) => byte === b[place])

// `value` as `size` bytes, big-endian.
export function big(value, size) {
  return Uint8Array.from({ length: size }, (_, place) => Number((BigInt(value) >> BigInt(8 * (size - 1 - place))) & 255n))
}

// Numbers of `size` bytes, with the byte before them that says so.
const sized = (code, value, size) => join(Uint8Array.of(code), big(value, size))

function header(short, codes, count) {
  if (short !== null && count < 16) return Uint8Array.of(short + count)
  if (codes.length === 3 && count < 2 ** 8) return sized(codes[0], count, 1)
  return count < 2 ** 16 ? sized(codes.at(-2), count, 2) : sized(codes.at(-1), count, 4)
}

function encodeInteger(value) {
  if (value >= -32n && value < 128n) return big(value & 255n, 1)
  for (const [step, bits] of [8n, 16n, 32n, 64n].entries()) {
    if (value >= 0n && value < 1n << bits) return sized(0xcc + step, value, Number(bits) / 8)
    if (value < 0n && value >= -(1n << (bits - 1n))) return sized(0xd0 + step, BigInt.asUintN(Number(bits), value), Number(bits) / 8)
  }
  throw new Wrong(`${value} has more than 64 bits`)
}

// The one encoding of integers, bytes and lists of them.
export function pack(value) {
  if (value instanceof Uint8Array) return join(header(null, [0xc4, 0xc5, 0xc6], value.length), value)
  if (Array.isArray(value)) return join(header(0x90, [0xdc, 0xdd], value.length), ...value.map(pack))
  return encodeInteger(BigInt(value))
}

// Integers as BigInts; refuses what `pack` would not have made.
export function unpack(data) {
  let at = 0
  const take = (size) => {
    check(at + size <= data.length, 'the bytes end too early')
    return data.subarray(at, (at += size))
  }
  const number = (size) => take(size).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
  const list = (count) => {
    check(count <= data.length, 'a list is longer than its bytes')
    return Array.from({ length: count }, read)
  }
  function read() {
    const [code] = take(1)
    if (code < 0x80) return BigInt(code)
    if (code >= 0xe0) return BigInt(code) - 256n
    if (code >= 0x90 && code < 0xa0) return list(code - 0x90)
    if (code >= 0xc4 && code <= 0xc6) return take(Number(number(2 ** (code - 0xc4))))
    if (code >= 0xcc && code <= 0xcf) return number(2 ** (code - 0xcc))
    if (code >= 0xd0 && code <= 0xd3) return BigInt.asIntN(8 * 2 ** (code - 0xd0), number(2 ** (code - 0xd0)))
    if (code === 0xdc || code === 0xdd) return list(Number(number(code === 0xdc ? 2 : 4)))
    throw new Wrong(`byte ${code.toString(16)} begins nothing that a record has`)
  }
  const value = read()
  check(at === data.length, 'bytes stand behind the record')
  check(same(pack(value), data), 'another encoding of this record is the only one')
  return value
}

// name of a record -> its fields, [name, type] in order; tag -> name.
const schema = new Map()
const named = new Map()
for (const section of readFileSync(new URL('../../docs/RECORDS.md', import.meta.url), 'utf-8').split('\n### ').slice(1)) {
  const name = section.split('\n', 1)[0]
  schema.set(name, [...section.matchAll(/^\| (\w+) \| ([^|]+?) \|/gm)].map((match) => match.slice(1, 3)).slice(1))
  const tag = section.match(/^`([^`]+)`$/m)
  if (tag) named.set(tag[1], name)
}
export const recordOf = (tag) => named.get(tag)
export const tagOf = (name) => [...named].find(([, each]) => each === name)[0]

const bounds = (text) => (text ? text.split('..').map(Number) : [0, Infinity])

function shape(type, value, where) {
  const [, item, places] = type.match(/^list of (.*?)(?: \((\d+\.\.\d+)\))?$/) ?? []
  if (item) {
    const [least, most] = bounds(places)
    check(Array.isArray(value) && value.length >= least && value.length <= most, `${where}: no ${type}`)
    return value.map((each, place) => shape(item, each, `${where}[${place}]`))
  }
  if (type.startsWith('bytes')) {
    const [least, most = least] = bounds(type.slice(6))
    check(value instanceof Uint8Array && value.length >= least && value.length <= most, `${where}: no ${type}`)
    return value
  }
  if (schema.has(type)) return fromList(type, value)
  const [, sign, width] = (type.startsWith('one of') ? 'U8' : type).match(/^([UI])(\d+)$/)
  const [low, high] = sign === 'U' ? [0n, 1n << BigInt(width)] : [-(1n << BigInt(width - 1)), 1n << BigInt(width - 1)]
  check(typeof value === 'bigint' && value >= low && value < high, `${where}: no ${type}`)
  return width <= 32 ? Number(value) : value
}

function fromList(name, list) {
  const fields = schema.get(name)
  check(Array.isArray(list) && list.length === fields.length, `${name}: ${fields.length} fields expected`)
  return Object.fromEntries(fields.map(([field, type], place) => [field, shape(type, list[place], `${name}.${field}`)]))
}

export const decode = (name, data) => fromList(name, unpack(data))

function plain(value) {
  if (value instanceof Uint8Array || typeof value !== 'object') return value
  return Array.isArray(value) ? value.map(plain) : Object.values(value).map(plain)
}

export function encode(name, record) {
  const list = plain(schema.get(name).map(([field]) => record[field]))
  const data = pack(list)
  decode(name, data) // a value that no record may hold is not written either
  return data
}
