"""An object store as the place of artifacts: S3 and what speaks its protocol.

Credentials, region and endpoint come from the environment or the machine's role, as with every
S3 client (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT), never from a file.
Plain HTTP, which shows artifacts and nothing secret, has to be allowed: AWS_ALLOW_HTTP=true.
"""

import os
from datetime import timedelta

from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from bft.errors import ConfigError

ALLOW_HTTP = "AWS_ALLOW_HTTP"
CONNECT_S = 3
ANSWER_S = 60  # of one request; an artifact of many megabytes is one
RETRIES_MAX = 2
RETRY_S = 10  # altogether; then it is down, and who asked is told


def open_object_store(url: str) -> ObjectStore:
    """The store at s3://bucket/prefix, not asked yet.

    Raises:
        ConfigError: the environment's settings for it are wrong.
    """
    try:
        return from_url(
            url,
            client_options={
                "connect_timeout": timedelta(seconds=CONNECT_S),
                "timeout": timedelta(seconds=ANSWER_S),
                "allow_http": os.environ.get(ALLOW_HTTP, "").lower() == "true",
            },
            retry_config={
                "max_retries": RETRIES_MAX,
                "retry_timeout": timedelta(seconds=RETRY_S),
            },
        )
    except (BaseError, ValueError) as error:
        raise ConfigError(f"{url}: {error}") from None
