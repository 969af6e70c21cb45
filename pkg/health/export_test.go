package health

import "context"

// Ask checks a server once; "" is well.
func Ask(c Check, address string) string {
	if err := c.ask(context.Background(), address); err != nil {
		return err.Error()
	}
	return ""
}
