"""PyPI's sseclient-py, on requests."""

import requests
from report import report, url
from sseclient import SSEClient

session = requests.Session()
session.trust_env = False
response = session.get(url, headers={"Accept": "text/event-stream"}, stream=True)
for event in SSEClient(response).events():
    report(event.event, event.data, event.id)
