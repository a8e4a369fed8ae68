"""Holds the resources of these files to the schemas of a version of Kubernetes, strictly.

Prints those kinds that the schemas do not have, one a line; ends with an error for the first that is not valid.
"""

import sys

import kubernetes_validate
import yaml

version, *files = sys.argv[1:]
for name in files:
    with open(name, encoding="utf-8") as file:
        for resource in yaml.safe_load_all(file):
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except kubernetes_validate.SchemaNotFoundError:
                print(resource["kind"])
            except kubernetes_validate.ValidationError as error:
                sys.exit(f"{name}: {error}")
