package agent

import "context"

// Known is what convergence looks at.
func (a *Agent) Known(ctx context.Context, method, domain string) ([]byte, error) {
	return a.state.Known(ctx, method, domain)
}

// Desired is what handlers are given.
func (a *Agent) Desired(ctx context.Context, method, domain string) ([]byte, error) {
	return a.state.Desired(ctx, method, domain)
}
