// Our records as bytes: MessagePack arrays, cut into their items.
// A digest is taken over the bytes that came, so nothing has to be encoded here, and bytes in
// another encoding are another record.
// Source: docs/PROTOCOL.md, "Encoding"; the MessagePack specification.

const DEPTH_MAX = 16

class Items {
  constructor(data) {
    this.data = data
    this.at = 0
    this.view = new DataView(data.buffer, data.byteOffset, data.length)
  }

  take(count) {
    if (count > this.data.length - this.at) throw new Error('the record ends before its fields do')
    return this.data.subarray(this.at, (this.at += count))
  }

  number(bytes) {
    const at = this.at
    this.take(bytes)
    if (bytes === 8) return this.view.getBigUint64(at)
    return bytes === 4 ? this.view.getUint32(at) : bytes === 2 ? this.view.getUint16(at) : this.view.getUint8(at)
  }

  array(count, depth, from) {
    if (depth > DEPTH_MAX) throw new Error('a record nested too deep')
    if (count > this.data.length - this.at) throw new Error('the record ends before its fields do')
    const items = Array.from({ length: count }, () => this.next(depth + 1))
    return { items, raw: this.data.subarray(from, this.at) }
  }

  // {raw} and one of: items (an array's), bytes, number.  Maps, floats and text are in none of ours.
  next(depth = 0) {
    const from = this.at
    const code = this.number(1)
    const whole = (field) => ({ ...field, raw: this.data.subarray(from, this.at) })
    if (code < 0x80) return whole({ number: code })
    if (code >= 0xe0) return whole({ number: code - 0x100 })
    if ((code & 0xf0) === 0x90) return this.array(code & 0x0f, depth, from)
    switch (code) {
      case 0xc4: return whole({ bytes: this.take(this.number(1)) })
      case 0xc5: return whole({ bytes: this.take(this.number(2)) })
      case 0xc6: return whole({ bytes: this.take(this.number(4)) })
      case 0xcc: return whole({ number: this.number(1) })
      case 0xcd: return whole({ number: this.number(2) })
      case 0xce: return whole({ number: this.number(4) })
      case 0xcf: return whole({ number: Number(this.number(8)) })
      case 0xd0: case 0xd1: case 0xd2: case 0xd3: return whole({ signed: this.take(1 << (code - 0xd0)) })
      case 0xdc: return this.array(this.number(2), depth, from)
      case 0xdd: return this.array(this.number(4), depth, from)
    }
    throw new Error(`0x${code.toString(16)} came; a record of ours has no such field`)
  }
}

// The one record, or array, that `data` is.
export function decodeItems(data) {
  const reader = new Items(data)
  const found = reader.next()
  if (reader.at !== data.length) throw new Error(`${data.length - reader.at} bytes too many`)
  return found
}

// The items of an array; `count` of them where that is said.
export function itemsOf(field, count, what) {
  if (!field?.items) throw new Error(`${what}: an array expected`)
  if (count !== undefined && field.items.length !== count) {
    throw new Error(`${what}: ${field.items.length} fields came; ${count} expected`)
  }
  return field.items
}

// The bytes of a field; `size` of them where that is said.
export function bytesOf(field, size, what) {
  if (!field?.bytes || (size !== undefined && field.bytes.length !== size)) {
    throw new Error(`${what}: ${size ?? 'some'} bytes expected`)
  }
  return field.bytes
}

// A whole number from 0 on.
export function numberOf(field, what) {
  if (!Number.isSafeInteger(field?.number) || field.number < 0) throw new Error(`${what}: a number expected`)
  return field.number
}
