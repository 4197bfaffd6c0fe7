# What the scene's policies say of the call that is measured, as one would write it for OPA: the agent's token, the namespace's
# environment, and the agent's limits on replicas and images. Agents and keys are in the data beside it.
package bench

import rego.v1

default allow := false

allow if {
	http.method == "PATCH"
	limits := data.agents[claims.sub]
	environment in limits.allowed_environments
	is_number(patch.spec.replicas)
	patch.spec.replicas <= limits.max_replicas
	patch.spec.replicas <= limits.human_above
	count(images) > 0
	every image in images {
		split(image, "@")[1] in limits.digests
	}
}

http := input.attributes.request.http

claims := payload if {
	startswith(http.headers.authorization, "Bearer ")
	token := substring(http.headers.authorization, 7, -1)
	[true, _, payload] = io.jwt.decode_verify(token, {"cert": data.keys, "iss": data.issuer, "aud": data.audience})
}

environment := "production" if startswith(namespace, "prod-")

environment := "staging" if startswith(namespace, "staging-")

namespace := name if ["apis", "apps", "v1", "namespaces", name, "deployments", _] = input.parsed_path

patch := json.unmarshal(http.body)

images contains container.image if {
	some kind in ["containers", "initContainers", "ephemeralContainers"]
	some container in patch.spec.template.spec[kind]
}
