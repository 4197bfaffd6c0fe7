"""boto3 through a route, or straight to moto: one call for each line of JSON on standard input, one line of JSON for each answer."""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def client(call):
    made = boto3.client(
        call["service"],
        endpoint_url=call["endpoint"],
        region_name=call.get("region", "eu-west-1"),
        aws_access_key_id=call["id"],
        aws_secret_access_key=call["secret"],
        config=Config(retries={"max_attempts": 1}, connect_timeout=10, read_timeout=30),
    )
    if "token" in call:

        def add(request, **_):
            request.headers["Aegis-Token"] = call["token"]

        made.meta.events.register("before-sign", add)
    if "tamper" in call:
        old, new = (text.encode() for text in call["tamper"])

        def change(request, **_):
            assert old in request.body, request.body
            request.body = request.body.replace(old, new)

        made.meta.events.register("before-send", change)
    return made


for line in sys.stdin:
    call = json.loads(line)
    try:
        answer = getattr(client(call), call["do"])(**call.get("with", {}))
        answer.pop("ResponseMetadata", None)
        print(json.dumps({"ok": answer}, default=str))
    except ClientError as error:
        print(json.dumps({"refused": str(error), "status": error.response["ResponseMetadata"]["HTTPStatusCode"]}))
    sys.stdout.flush()
