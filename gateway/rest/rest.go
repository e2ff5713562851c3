package rest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tinylib/msgp/msgp"
	"golang.org/x/sync/semaphore"

	"sluice/config"
	"sluice/gateway"
	"sluice/internal/wire"
	"sluice/message"
)

// Settings is what users write about the protocol.
type Settings struct {
	AckTimeout time.Duration `koanf:"ack_timeout" doc:"how long a request waits for Kafka before it is answered with 503"`
	Bodies     config.Size   `koanf:"bodies" doc:"most memory for bodies that are being received; beyond it requests get 503"`
}

// Validate reports every setting that cannot be.
func (s *Settings) Validate() error {
	var errs []error
	if s.AckTimeout < 100*time.Millisecond || s.AckTimeout > 50*time.Second {
		errs = append(errs, fmt.Errorf("ack_timeout: %s is not between 100ms and 50s", s.AckTimeout))
	}
	if s.Bodies < 8<<20 {
		errs = append(errs, fmt.Errorf("bodies: %s is less than 8MiB", s.Bodies))
	}
	return errors.Join(errs...)
}

func defaults() Settings { return Settings{AckTimeout: 10 * time.Second, Bodies: 32 << 20} }

// Protocol is the plugin.
func Protocol() gateway.Protocol {
	return gateway.Define([]string{"POST /data"}, defaults, build)
}

type handler struct {
	settings Settings
	env      gateway.Env
	bodies   *semaphore.Weighted
}

func build(s Settings, env gateway.Env) (http.Handler, error) {
	return &handler{settings: s, env: env, bodies: semaphore.NewWeighted(int64(s.Bodies))}, nil
}

// refusal is an answer that is not 200.
type refusal struct {
	status int
	gateway.Fault
}

// success is the answer to a frame that Kafka has.
type success struct {
	Result string `json:"result"`
	ID     string `json:"id"`
}

// ServeHTTP takes a frame.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	agent, err := h.env.Host.Login(h.env.Name, gateway.BearerToken(r))
	if err != nil {
		gateway.Refuse(w, err)
		return
	}
	f := message.Frame{Agent: agent, Protocol: h.env.Name}
	done, no := h.take(w, r, &f)
	if no != nil {
		h.env.Reject("rest_" + no.Error)
		if no.status == http.StatusServiceUnavailable {
			gateway.Unavailable(w, no.Error, no.Reason)
		} else {
			gateway.WriteJSON(w, no.status, no.Fault)
		}
		return
	}
	late := time.NewTimer(h.settings.AckTimeout)
	defer late.Stop()
	select {
	case err = <-done:
	case <-late.C:
		err = errors.New("kafka did not answer in time")
	case <-r.Context().Done():
		return // nobody is there to be answered
	}
	if err != nil {
		h.env.Reject("rest_unknown")
		gateway.Unavailable(w, "unknown", "the frame may be stored or not; send it again with the same Idempotency-Key")
		return
	}
	gateway.WriteJSON(w, http.StatusOK, success{"success", f.ID})
}

// take reads a request into f and offers it to the gateway.
func (h *handler) take(w http.ResponseWriter, r *http.Request, f *message.Frame) (done <-chan error, no *refusal) {
	format, no := check(r)
	if no != nil {
		return nil, no
	}
	if f.ID, no = h.frameID(r, f.Agent); no != nil {
		return nil, no
	}
	limit := int64(h.env.Limits.Body)
	size := r.ContentLength
	if size > limit {
		return nil, tooLarge(limit)
	}
	if size < 0 {
		size = limit
	}
	// Held until the frame is taken, which the gateway's own budget counts.
	if !h.bodies.TryAcquire(size) {
		return nil, busy()
	}
	defer h.bodies.Release(size)

	body, err := readAll(http.MaxBytesReader(w, r.Body, limit), r.ContentLength)
	if over := new(http.MaxBytesError); errors.As(err, &over) {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, gateway.Fault{Error: string(message.CodeMalformed), Reason: "the body did not come to its end"}}
	}
	if no := h.inspect(format, body, f.Agent); no != nil {
		return nil, no
	}
	f.ContentType, f.Value = format.ContentType(), body
	answer := make(chan error, 1)
	switch err := h.env.Host.Ingest(f, func(err error) { answer <- err }); {
	case errors.Is(err, gateway.ErrTooLarge):
		return nil, tooLarge(limit)
	case err != nil:
		return nil, busy()
	}
	return answer, nil
}

// check looks at what the headers say of the body.
func check(r *http.Request) (wire.Format, *refusal) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return 0, &refusal{http.StatusUnsupportedMediaType, gateway.Fault{
			Error: "content_encoding", Reason: "compressed bodies are not taken"}}
	}
	format, ok := wire.FormatOf(r.Header.Get("Content-Type"))
	if !ok {
		return 0, &refusal{http.StatusUnsupportedMediaType, gateway.Fault{
			Error: string(message.CodeContentType), Reason: "want Content-Type " + wire.TypeJSON + ", " + wire.TypeMsgpack + " or " + wire.TypeNDJSON}}
	}
	return format, nil
}

// frameID returns agent/key, or agent/ and something that is made once.
func (h *handler) frameID(r *http.Request, agent string) (string, *refusal) {
	switch keys := r.Header.Values("Idempotency-Key"); {
	case len(keys) == 0:
		b := make([]byte, 16)
		if _, err := io.ReadFull(h.env.Rand, b); err != nil {
			return "", busy()
		}
		return agent + "/" + hex.EncodeToString(b), nil
	case len(keys) > 1 || !message.ValidName(keys[0]):
		return "", &refusal{http.StatusBadRequest, gateway.Fault{
			Error:  "idempotency_key",
			Reason: fmt.Sprintf("want one Idempotency-Key of 1 to %d letters, digits and . _ : @ -, the first a letter or a digit", message.MaxName)}}
	default:
		return agent + "/" + keys[0], nil
	}
}

// readAll reads r to its end, into memory of the declared size where there is one.
func readAll(r io.Reader, size int64) ([]byte, error) {
	if size < 0 {
		return io.ReadAll(r)
	}
	b := make([]byte, size)
	_, err := io.ReadFull(r, b)
	return b, err
}

// inspect looks at the structure of a body and at its envelopes. A single fault
// refuses the whole of it: an agent must be able to send the rest again without
// asking which part arrived.
func (h *handler) inspect(format wire.Format, body []byte, agent string) *refusal {
	var few [8]wire.Envelope
	envelopes, err := wire.Split(format, body, wire.DefaultLimits, few[:0])
	if fault := new(message.Fault); errors.As(err, &fault) {
		status := http.StatusBadRequest
		if fault.Code == message.CodeEnvelope || fault.Code == message.CodeEmpty {
			status = http.StatusUnprocessableEntity
		}
		return refuse(status, "", fault)
	}
	for i := range envelopes {
		e := &envelopes[i]
		place := ""
		if len(envelopes) > 1 || inArray(format, body) {
			place = wire.Index(i)
		}
		switch {
		// What is inside of data is not ours to judge.
		case e.Fault != nil && !strings.HasPrefix(e.Fault.Field, "data."):
			return refuse(http.StatusUnprocessableEntity, place, e.Fault)
		case e.ID != agent:
			return refuse(http.StatusForbidden, place, &message.Fault{
				Code: message.CodeForeignID, Field: "id", Reason: "is not the agent that the token belongs to"})
		case !h.env.Types(e.Type):
			return refuse(http.StatusUnprocessableEntity, place, &message.Fault{
				Code: message.CodeUnknownType, Field: "type", Reason: fmt.Sprintf("%q has no schema", e.Type)})
		}
	}
	return nil
}

// inArray reports whether a body that has envelopes is an array.
func inArray(format wire.Format, body []byte) bool {
	if format == wire.Msgpack {
		return msgp.NextType(body) == msgp.ArrayType
	}
	return format == wire.JSON && bytes.TrimLeft(body, " \t\r\n")[0] == '['
}

func refuse(status int, place string, f *message.Fault) *refusal {
	return &refusal{status, gateway.Fault{Error: string(f.Code), Field: wire.Join(place, f.Field), Reason: f.Reason}}
}

func tooLarge(limit int64) *refusal {
	return &refusal{http.StatusRequestEntityTooLarge, gateway.Fault{
		Error: string(message.CodeTooLarge), Reason: fmt.Sprintf("want a body of at most %d bytes", limit)}}
}

func busy() *refusal {
	return &refusal{http.StatusServiceUnavailable, gateway.Fault{Error: "busy", Reason: "the gateway takes nothing now, try again later"}}
}
