// What a page of ours needs to verify: our examples/verify.mjs and page.mjs, and the primitives.
export * from './page.mjs'
export * from './verify.mjs'
export { secp256k1 } from '@noble/curves/secp256k1.js'
export { sha256 } from '@noble/hashes/sha2.js'
