// Reads and verifies rounds with drand's own JavaScript client, as an application would.
//
//   node drand.mjs BASE_URL CHAIN_HASH PUBLIC_KEY ROUND...
//
// Prints one JSON object; fails on a round that the client does not accept.
import { fetchBeacon, HttpCachingChain, HttpChainClient, MultiBeaconNode } from 'drand-client'

const [baseUrl, chainHash, publicKey, ...rounds] = process.argv.slice(2)

function client(url, params) {
  const options = { disableBeaconVerification: false, noCache: true, chainVerificationParams: params }
  return new HttpChainClient(new HttpCachingChain(url, options), options)
}

// What another client says, with one field changed.
function lying(honest, field, value) {
  return {
    options: honest.options,
    chain: () => honest.chain(),
    get: async (round) => ({ ...(await honest.get(round)), [field]: value }),
  }
}

async function refuses(promise) {
  try {
    await promise
    return false
  } catch {
    return true
  }
}

const pinned = client(`${baseUrl}/${chainHash}`, { chainHash, publicKey })
const beacons = []
for (const round of rounds) {
  beacons.push(await fetchBeacon(pinned, Number(round)))
}
const [first, second] = beacons
const node = new MultiBeaconNode(baseUrl)
console.error = () => {} // the client says there why it refuses

console.log(
  JSON.stringify({
    beacons,
    latest: await client(baseUrl, { chainHash, publicKey }).latest(),
    info: await pinned.chain().info(),
    chains: (await node.chains()).map((chain) => chain.baseUrl),
    health: await node.health(),
    refused: {
      anotherRoundsSignature: await refuses(
        fetchBeacon(lying(pinned, 'signature', second.signature), first.round)
      ),
      anotherRandomness: await refuses(
        fetchBeacon(lying(pinned, 'randomness', second.randomness), first.round)
      ),
      anotherKey: await refuses(
        fetchBeacon(client(baseUrl, { chainHash, publicKey: '00'.repeat(96) }), first.round)
      ),
      missingRound: await refuses(fetchBeacon(pinned, 1)),
    },
  })
)
