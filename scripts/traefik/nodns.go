// Package nodns stands where the SDKs of a hundred DNS providers would, which are most of what Traefik is built from and none
// of what we test it for. With it, Traefik can't prove to a certificate authority that a name is its own by way of DNS.
package nodns

import (
	"fmt"

	"github.com/go-acme/lego/v4/challenge"
)

// NewDNSChallengeProviderByName knows no provider.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, fmt.Errorf("this build of Traefik knows no DNS provider, so not %q either", name)
}
