package bus

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

// brokersTime is how long a broker may take to answer the system user.
const brokersTime = 5 * time.Second

// brokerAnswer is what nats-server answers to a user of the system account.
type brokerAnswer struct {
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	Stats struct {
		Brokers int `json:"active_servers"`
	} `json:"statsz"`
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
}

// PushAccount hands an account's JWT, newly issued, to all brokers of a
// cluster, which keep it, use it at once, and disconnect users that it
// revokes. The connection must be a system user's. It returns the names of the
// brokers that took it; the others get it from them, once they are there. The
// error is Refused where a broker did not take it, Unavailable where one did
// not answer.
func (c *Conn) PushAccount(ctx context.Context, accountJWT string) (took []string, err error) {
	return c.tellBrokers(ctx, subjects.AccountUpdate, accountJWT, "does not take the account")
}

// DeleteAccounts has all brokers of a cluster forget accounts: deletion names
// them and is signed by the operator. Who is connected is cut off. Result and
// error are as of PushAccount.
func (c *Conn) DeleteAccounts(ctx context.Context, deletion string) (told []string, err error) {
	return c.tellBrokers(ctx, subjects.AccountDelete, deletion, "does not forget the account")
}

func (c *Conn) tellBrokers(ctx context.Context, subject, text, refusal string) (took []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, brokersTime)
	defer cancel()
	first, err := c.askBrokers(ctx, subjects.BrokerPing, nil, 1)
	if err != nil {
		return nil, err
	}
	answers, err := c.askBrokers(ctx, subject, []byte(text), first[0].Stats.Brokers)
	for _, a := range answers {
		if a.Error != nil {
			err = errors.Join(err, fleet.Errorf(fleet.Refused, "broker %s %s: %s", a.Server.Name, refusal, a.Error.Description))
			continue
		}
		took = append(took, a.Server.Name)
	}
	slices.Sort(took)
	return took, err
}

// askBrokers asks all brokers and returns the answers of so many of them. With
// the error come those that there are.
func (c *Conn) askBrokers(ctx context.Context, subject string, body []byte, count int) ([]brokerAnswer, error) {
	inbox := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, kinded(err, "ask "+subject)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.nc.PublishRequest(subject, inbox, body); err != nil {
		return nil, kinded(err, "ask "+subject)
	}
	var answers []brokerAnswer
	for len(answers) < count {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, context.DeadlineExceeded) && len(answers) == 0:
			return nil, fleet.Errorf(fleet.Unavailable, "no broker answers %s: is it there, and the user one of the system account?", subject)
		case errors.Is(err, context.DeadlineExceeded):
			return answers, fleet.Errorf(fleet.Unavailable, "%d of %d brokers answered (%s): the others get it from them when they are there", len(answers), count, names(answers))
		case err != nil:
			return answers, kinded(err, "ask "+subject)
		case m.Header.Get("Status") == "503":
			return answers, fleet.Errorf(fleet.Unavailable, "no broker takes accounts from this user: it has to be of the system account, and the broker's resolver a full one")
		}
		var a brokerAnswer
		if err := json.Unmarshal(m.Data, &a); err != nil {
			return answers, fleet.Errorf(fleet.Internal, "a broker's answer on %s: %w", subject, err)
		}
		answers = append(answers, a)
	}
	return answers, nil
}

func names(answers []brokerAnswer) string {
	var all []string
	for _, a := range answers {
		all = append(all, a.Server.Name)
	}
	return strings.Join(all, ", ")
}
