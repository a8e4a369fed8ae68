"""What every client here has in common: it is called as `client.py <url>`, and writes one line of JSON for
each event it hears."""

import json
import sys

url = sys.argv[1]


def report(type, data, id):
    print(json.dumps({"type": type, "data": data, "id": id}), flush=True)
