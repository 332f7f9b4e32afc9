// A controller: keeps the Eips and Fips of one gateway as a file wants them. docs/controller.md explains it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"net"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"time"

	"natgw.example/controller/natgw"
)

//go:generate go tool oapi-codegen -config natgw/oapi-codegen.yaml ../../golden/openapi.json

// wanted: in place of a file, a real controller has the custom resources of its cluster, with their uids.
type wanted struct {
	Eips []natgw.EipEntry `json:"eips"`
	Fips []natgw.FipEntry `json:"fips"`
}

// stored: both lists at one revision.
type stored struct {
	revision int64
	eips     []natgw.Eip
	fips     []natgw.Fip
}

// write sends one write, if nobody wrote since the revision of ifMatch.
type write struct {
	id   string
	send func(ctx context.Context, ifMatch *string) (*http.Response, *natgw.Problem, error)
}

const (
	busy  = 5 * time.Second
	never = time.Duration(math.MaxInt64)
)

type controller struct {
	api  *natgw.ClientWithResponses
	said map[string]string
}

// reconcile is one round. Returns when the next one is due. An error means that there was no answer.
func (c controller) reconcile(ctx context.Context, want wanted) (time.Duration, error) {
	before, err := c.list(ctx)
	if err != nil {
		return 0, err
	}
	revision, next := before.revision, never
	for _, w := range c.writes(before, want) {
		ifMatch := strconv.Quote(strconv.FormatInt(revision, 10))
		response, problem, err := w.send(ctx, &ifMatch)
		if err != nil {
			return 0, err
		}
		if problem == nil {
			if tag, err := strconv.Unquote(response.Header.Get("ETag")); err == nil {
				revision, _ = strconv.ParseInt(tag, 10, 64)
			}
			c.say(w.id, "stored")
			continue
		}
		c.say(w.id, fmt.Sprintf("%s: %s", problem.Code, problem.Detail))
		next = min(next, after(response))
		// The reading is out of date, or the agent takes no writes now: the rest waits for the next round.
		if response.StatusCode == http.StatusPreconditionFailed || response.StatusCode >= 500 {
			return next, nil
		}
	}
	// Stored means durable. The kernel has it when a pass has applied the revision, and each object tells how that went.
	wait := "30s"
	if _, err := c.api.GetStatusWithResponse(ctx, &natgw.GetStatusParams{AppliedRevision: &revision, Wait: &wait}); err != nil {
		return 0, err
	}
	now, err := c.list(ctx)
	if err != nil {
		return 0, err
	}
	for _, eip := range now.eips {
		c.report("Eip "+eip.Name, eip.Status)
	}
	for _, fip := range now.fips {
		c.report("Fip "+fip.Name, fip.Status)
	}
	return next, nil
}

// after returns when a refused write is worth another round.
func after(response *http.Response) time.Duration {
	switch response.StatusCode {
	case http.StatusPreconditionFailed: // Somebody else wrote after our reading. Read again.
		return 0
	case http.StatusTooManyRequests, http.StatusServiceUnavailable: // The agent is busy, or cannot write to its disk now.
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
			return time.Duration(seconds) * time.Second
		}
		return busy
	case http.StatusConflict: // Another object has the address, or the Eip is in use. Another write may change that.
		return busy
	default: // The same request has the same answer until somebody changes something: 401, 403, 422, and 410 for a deleted uid.
		return never
	}
}

func (c controller) report(id string, status natgw.Status) {
	text := "Ready"
	for _, condition := range status.Conditions {
		if condition.Type == natgw.ConditionTypeReady && !status.Ready {
			text = fmt.Sprintf("not Ready: %s: %s", condition.Reason, condition.Message)
		}
	}
	c.say(id, text)
}

// say prints what is new.
func (c controller) say(id, text string) {
	if c.said[id] != text {
		fmt.Printf("%s: %s\n", id, text)
	}
	c.said[id] = text
}

func (c controller) list(ctx context.Context) (stored, error) {
	for {
		eips, err := c.api.ListEipsWithResponse(ctx, nil)
		if err != nil {
			return stored{}, err
		}
		fips, err := c.api.ListFipsWithResponse(ctx, nil)
		if err != nil {
			return stored{}, err
		}
		if eips.JSON200 == nil || fips.JSON200 == nil {
			return stored{}, fmt.Errorf("lists: %s, %s", eips.Status(), fips.Status())
		}
		if eips.JSON200.Revision == fips.JSON200.Revision {
			return stored{fips.JSON200.Revision, eips.JSON200.Items, fips.JSON200.Items}, nil
		}
	}
}

// writes lists what is to be done: users of an Eip are deleted before it, and written after it.
func (c controller) writes(now stored, want wanted) (writes []write) {
	for _, fip := range now.fips {
		if slices.ContainsFunc(want.Fips, func(entry natgw.FipEntry) bool { return entry.Name == fip.Name }) {
			continue
		}
		writes = append(writes, write{"delete fips/" + fip.Name, func(ctx context.Context, ifMatch *string) (*http.Response, *natgw.Problem, error) {
			r, err := c.api.DeleteFipWithResponse(ctx, fip.Name, &natgw.DeleteFipParams{Uid: fip.Uid, IfMatch: ifMatch})
			if err != nil {
				return nil, nil, err
			}
			return r.HTTPResponse, r.ApplicationproblemJSONDefault, nil
		}})
	}
	for _, eip := range now.eips {
		if slices.ContainsFunc(want.Eips, func(entry natgw.EipEntry) bool { return entry.Name == eip.Name }) {
			continue
		}
		writes = append(writes, write{"delete eips/" + eip.Name, func(ctx context.Context, ifMatch *string) (*http.Response, *natgw.Problem, error) {
			r, err := c.api.DeleteEipWithResponse(ctx, eip.Name, &natgw.DeleteEipParams{Uid: eip.Uid, IfMatch: ifMatch})
			if err != nil {
				return nil, nil, err
			}
			return r.HTTPResponse, r.ApplicationproblemJSONDefault, nil
		}})
	}
	for _, eip := range want.Eips {
		if slices.ContainsFunc(now.eips, func(object natgw.Eip) bool { return reflect.DeepEqual(entryOfEip(object), eip) }) {
			continue
		}
		input := natgw.EipInput{Uid: eip.Uid, Address: eip.Address, Interface: eip.Interface, LeaseSeconds: eip.LeaseSeconds, Bound: eip.Bound}
		writes = append(writes, write{"put eips/" + eip.Name, func(ctx context.Context, ifMatch *string) (*http.Response, *natgw.Problem, error) {
			r, err := c.api.PutEipWithResponse(ctx, eip.Name, &natgw.PutEipParams{IfMatch: ifMatch}, input)
			if err != nil {
				return nil, nil, err
			}
			return r.HTTPResponse, r.ApplicationproblemJSONDefault, nil
		}})
	}
	for _, fip := range want.Fips {
		if slices.ContainsFunc(now.fips, func(object natgw.Fip) bool { return reflect.DeepEqual(entryOfFip(object), fip) }) {
			continue
		}
		input := natgw.FipInput{Uid: fip.Uid, Eip: fip.Eip, InternalIp: fip.InternalIp}
		writes = append(writes, write{"put fips/" + fip.Name, func(ctx context.Context, ifMatch *string) (*http.Response, *natgw.Problem, error) {
			r, err := c.api.PutFipWithResponse(ctx, fip.Name, &natgw.PutFipParams{IfMatch: ifMatch}, input)
			if err != nil {
				return nil, nil, err
			}
			return r.HTTPResponse, r.ApplicationproblemJSONDefault, nil
		}})
	}
	return writes
}

func entryOfEip(eip natgw.Eip) natgw.EipEntry {
	s := eip.Spec
	return natgw.EipEntry{Name: eip.Name, Uid: eip.Uid, Address: s.Address, Interface: s.Interface, LeaseSeconds: s.LeaseSeconds, Bound: s.Bound}
}

func entryOfFip(fip natgw.Fip) natgw.FipEntry {
	return natgw.FipEntry{Name: fip.Name, Uid: fip.Uid, Eip: fip.Spec.Eip, InternalIp: fip.Spec.InternalIp}
}

func main() {
	socket := flag.String("socket", "/run/natgw/agent.sock", "the agent's socket")
	resync := flag.Int("resync", 30, "seconds between rounds")
	flag.Parse()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", *socket)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: time.Minute}
	api, err := natgw.NewClientWithResponses("http://agent", natgw.WithHTTPClient(client))
	if err != nil {
		log.Fatal(err)
	}
	c := controller{api, map[string]string{}}
	for {
		// A real controller also starts a round when one of its resources changes, and at an event of GET /v1/events.
		var want wanted
		text, err := os.ReadFile(flag.Arg(0))
		if err == nil {
			err = json.Unmarshal(text, &want)
		}
		if err != nil {
			log.Fatal(err)
		}
		next, err := c.reconcile(context.Background(), want)
		if err != nil {
			// The agent is starting again, or is not there yet. It keeps what it stored; the next round reads what that is.
			c.say("no answer", err.Error())
			next = time.Second
		}
		time.Sleep(min(next, time.Duration(*resync)*time.Second))
	}
}
