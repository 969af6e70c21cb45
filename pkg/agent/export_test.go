package agent

import "context"

// Known is what convergence looks at.
func (a *Agent) Known(ctx context.Context, method, domain string) ([]byte, error) {
	return a.state.Known(ctx, method, domain)
}
