// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	subjectToken  = "subject_token"
	// providerLogin is the path of the login page, which the library's storage sends people to.
	providerLogin = "/login/username"
)

// provider is an OpenID provider in front of the suite's one, which exchanges tokens and lets nobody log in. People log in here, and
// whoever brings the ID token of a login here is answered by the suite's provider, which is asked the same with its own ID token.
type provider struct {
	issuer       string
	client       string // Penstock as its client
	clientSecret string
	who          storage.User

	op      *op.Provider
	store   *storage.Storage
	suite   *url.URL // token endpoint of the suite's provider
	idToken string   // that the suite hands over
	server  *http.Server
	served  chan error
}

// startProvider starts the provider of a scenario on loopback, for the person with that address. Callback is Penstock's.
func startProvider(ctx context.Context, hints scenarioHints, email, callback string) (*provider, error) {
	suite, err := url.Parse(hints.ProviderTokenEndpoint)
	if err != nil || hints.ProviderClientID == "" || hints.ProviderIDToken == "" {
		return nil, errors.Join(errors.New("the scenario says too little of its identity provider"), err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &provider{
		issuer: "http://" + l.Addr().String(), client: hints.ProviderClientID, clientSecret: rand.Text(),
		who:   storage.User{ID: rand.Text(), Username: email, Password: rand.Text(), Email: email, EmailVerified: true},
		suite: suite, idToken: hints.ProviderIDToken, served: make(chan error, 1),
	}
	p.store = storage.NewStorageWithClients(person{&p.who}, map[string]*storage.Client{
		p.client: storage.WebClient(p.client, p.clientSecret, callback),
	})
	c := &op.Config{CodeMethodS256: true, GrantTypeRefreshToken: true}
	if _, err := rand.Read(c.CryptoKey[:]); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if p.op, err = op.NewProvider(c, p.store, op.StaticIssuer(p.issuer), op.WithAllowInsecure()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("/", p.op)
	mux.HandleFunc("GET "+providerLogin, func(w http.ResponseWriter, r *http.Request) {
		p.page(w, r.URL.Query().Get("authRequestID"), "")
	})
	issued := op.NewIssuerInterceptor(p.op.IssuerFromRequest)
	mux.HandleFunc("POST "+providerLogin, issued.HandlerFunc(p.login))
	mux.HandleFunc("POST "+p.op.TokenEndpoint().Relative(), issued.HandlerFunc(p.token))
	p.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() { p.served <- p.server.Serve(l) }()
	return p, nil
}

// stop ends the provider.
func (p *provider) stop() error {
	err := p.server.Close()
	if served := <-p.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// person is everybody whom the provider knows.
type person struct{ *storage.User }

// GetUserByID implements storage.UserStore.
func (p person) GetUserByID(id string) *storage.User {
	if id != p.ID {
		return nil
	}
	return p.User
}

// GetUserByUsername implements storage.UserStore.
func (p person) GetUserByUsername(name string) *storage.User {
	if name != p.Username {
		return nil
	}
	return p.User
}

// ExampleClientID implements storage.UserStore: there is none.
func (p person) ExampleClientID() string { return "" }

// page is the login page for a request to log in.
func (p *provider) page(w http.ResponseWriter, id, problem string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, `<form method="post" action="%s"><input type="hidden" name="id" value="%s">`+ // whoever is gone sees no page
		`<input name="username"><input type="password" name="password"><button>Log in</button></form><p>%s</p>`,
		providerLogin, html.EscapeString(id), html.EscapeString(problem))
}

func (p *provider) login(w http.ResponseWriter, r *http.Request) {
	id := r.PostFormValue("id")
	if err := p.store.CheckUsernamePassword(r.PostFormValue("username"), r.PostFormValue("password"), id); err != nil {
		p.page(w, id, err.Error())
		return
	}
	http.Redirect(w, r, op.AuthCallbackURL(p.op)(r.Context(), id), http.StatusSeeOther)
}

// token answers token requests: those of logins itself, and exchanges with what the suite's provider answers.
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("grant_type") != grantExchange {
		op.Exchange(w, r, p.op)
		return
	}
	if err := p.own(r); err != nil {
		op.RequestError(w, r, err, nil)
		return
	}
	r.PostForm.Set(subjectToken, p.idToken)
	form := r.PostForm.Encode()
	onward := httputil.ReverseProxy{
		Rewrite: func(q *httputil.ProxyRequest) {
			q.Out.URL, q.Out.Host = p.suite, p.suite.Host
			q.Out.Body, q.Out.ContentLength = io.NopCloser(strings.NewReader(form)), int64(len(form))
			q.Out.Header.Set("Content-Length", strconv.Itoa(len(form)))
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	onward.ServeHTTP(w, r)
}

// own checks that an exchange is one of Penstock's, of an ID token that the person's login here has left.
func (p *provider) own(r *http.Request) error {
	ctx := r.Context()
	_, id, secret, err := op.ParseTokenExchangeRequest(r, p.op.Decoder())
	if err != nil {
		return err
	}
	if _, err := op.AuthorizeTokenExchangeClient(ctx, id, secret, p.op); err != nil {
		return err
	}
	subjects := r.PostForm[subjectToken]
	if len(subjects) != 1 {
		return oidc.ErrInvalidRequest().WithDescription("there must be one subject_token")
	}
	c, err := op.VerifyIDTokenHint[*oidc.IDTokenClaims](ctx, subjects[0], p.op.IDTokenHintVerifier(ctx))
	if err != nil || c.Subject != p.who.ID || !slices.Equal(c.Audience, oidc.Audience{p.client}) {
		return oidc.ErrInvalidRequest().WithDescription("the subject_token is no ID token of a login here")
	}
	return nil
}
