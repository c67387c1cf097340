"""The HTTP doors of a replica: routes, limits and media types, for server and clients alike.

Bodies are canonical records (`application/octet-stream`) where bytes are signed or hashed, JSON
where people and dashboards read.  Errors are problem details (RFC 9457).
"""

STATUS = "/v1/status"  # GET: JSON, what this replica is doing
GENESIS = "/v1/genesis"  # GET: Genesis
FEDERATION_KEY = "/v1/federation-key"  # GET: FederationKey of the epoch; 404 before activation
MEMBERSHIP = "/v1/membership"  # GET: JSON, the members and the change that is under way
EPOCHS = "/v1/epochs"  # GET ?from=: tuple of FederationKey, one an epoch; none before activation
REQUESTS = "/v1/requests"  # POST: signed Request envelope; JSON result once executed
BLOBS = "/v1/blobs/{digest}"  # PUT: bytes -> sealed StorageReceipt; GET: bytes
CHUNKS_BELOW = "/chunks"  # an artifact's own route
CHUNKS = BLOBS + CHUNKS_BELOW  # GET: JSON, what is missing; POST -> sealed StorageReceipt
CHUNK = CHUNKS + "/{index}"  # PUT: CHUNK_BYTES of it, fewer in the last one
BLOBS_ASKED = "/v1/blobs"  # POST: 32-byte digests; tuple of bytes, empty for those not here
CYCLES = "/v1/cycles"  # GET ?from=: JSON, one line for each past cycle
CYCLE = "/v1/cycles/{cycle}"  # GET: JSON summary of one cycle
ASSIGNMENT = "/v1/cycles/{cycle}/assignment"  # GET: Assigned
ASSIGNED_UNITS = "/v1/cycles/{cycle}/assignment/{miner}"  # GET: Assigned, one miner's units only
SCORES = "/v1/cycles/{cycle}/scores"  # GET: Scored
SCORED_UNITS = "/v1/cycles/{cycle}/scores/{miner}"  # GET: Scored, one miner's rows only
CERTIFICATE = "/v1/cycles/{cycle}/certificate"  # GET: the newest rank's certificate
CONTRIBUTION = "/v1/cycles/{cycle}/contributions/{miner}"  # GET: JSON, rows and inclusion proofs
RESOURCES = "/v1/cycles/{cycle}/resources"  # GET: JSON, what miners claim that training used
ENERGY = "/v1/energy"  # GET: JSON, what this replica itself used, by cycle
BLOCKS = "/v1/blocks"  # POST: Block
DRAFTS = "/v1/drafts"  # POST: Block without solution and work -> JSON DraftSignature (signet only)
BLOCK = "/v1/blocks/{height}"  # GET: Block that the federation finalised
TEMPLATE = "/v1/template/{parent}"  # GET, nodes: BlockTemplate on this tip; 404 on any other
FINALITY = "/v1/blocks/{height}/finality"  # GET: BlockFinal
PROOF = "/v1/blocks/{height}/proof/{txid}"  # GET: merkle block (BIP 37) of one transaction
HEADERS = "/v1/headers"  # GET ?from=: certified headers from a height on, as in `certheaders`
LOG = "/v1/log"  # GET ?from=&limit=: tuple of LogEntry
EVENTS = "/v1/events"  # GET: server-sent events, JSON

# drand's routes, as drand names them; each but the list also with the chain hash before it.
BEACON_CHAIN = "/{chain:[0-9a-f]{64}}"
BEACON_CHAINS = "/chains"  # GET: JSON, the one chain hash
BEACON_INFO = "/info"  # GET: JSON, key and scheme; 404 before activation
BEACON_LATEST = "/public/latest"  # GET: JSON, the newest round
BEACON_ROUND = "/public/{round}"  # GET: JSON, one round; 404 where there is none
BEACON_HEALTH = "/health"  # GET: JSON, the newest round and the one that is awaited

LOG_FILES = "/log"  # GET below it: the log as files, C2SP tlog-tiles; see chain/tlog/tiles.py

OCTETS = "application/octet-stream"
PROBLEM = "application/problem+json"
UPLOAD_HEADER = "Gristmill-Upload"  # hex of a sealed UploadAuthorization

REQUEST_WAIT_MS_MAX = 15_000  # a POST waits this long for its request's execution
LOG_LIMIT_MAX = 512  # entries in one answer
LOG_ANSWER_BYTES_MAX = 4 * 1024 * 1024
CHUNK_BYTES = 8 * 1024 * 1024  # of an artifact that comes in several requests
BLOBS_LIMIT_MAX = 256  # digests in one question
BLOBS_ANSWER_BYTES_MAX = 4 * 1024 * 1024  # then the rest is not in the answer; one always is
EPOCHS_LIMIT_MAX = 64  # epochs in one answer
EPOCHS_ANSWER_BYTES_MAX = 4 * 1024 * 1024
HEADERS_LIMIT_MAX = 64  # certified headers in one answer
BLOCK_BYTES_MAX = 1024 * 1024
