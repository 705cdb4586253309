// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/reqctx"
)

//go:embed templates/*.html
var texts embed.FS

//go:embed assets
var assets embed.FS

// AssetsPrefix is where [Assets] is served.
const AssetsPrefix = "/assets/"

// Body is one of the page structs of this package.
type Body interface {
	view() view
}

// view is how a body is shown.
type view struct {
	template string // file in templates, without ".html"
	title    string // of the window
	data     any
	action   string // further source of form-action
	refresh  string // address that the page leads on to by itself
}

// Page is an answer to a browser.
type Page struct {
	Status int // 0: 200
	Body   Body
	Base   string // path of the issuer, see [Base]
	// FormAction are CSP sources that forms of the page lead to besides this server, for example
	// "https://client.example". Pages with a Destination add its source by themselves.
	FormAction []string
}

// Render answers with a page and the headers of AZ-16. The answer to HEAD has no body. A page that cannot be made is a
// defect of its template and answers 500.
func Render(w http.ResponseWriter, r *http.Request, p Page) {
	v := p.Body.view()
	sources := slices.Clone(p.FormAction)
	if v.action != "" {
		sources = append(sources, v.action)
	}
	SetHeaders(w.Header(), sources...)

	all, err := parsed()
	var out bytes.Buffer
	if err == nil {
		err = all[v.template].Execute(&out, struct {
			Title, Request, Base string
			Page                 any
		}{v.title, reqctx.From(r.Context()).ID, p.Base, v.data})
	}
	if err != nil {
		http.Error(w, "An internal error occurred.", http.StatusInternalServerError)
		return
	}

	if v.refresh != "" {
		w.Header().Set("Refresh", "0; url="+string(address(v.refresh)))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	status := p.Status
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(out.Bytes())
	}
}

// parsed is the templates by the name that [view] has for them. They are parsed at the first page and never again: anybody may
// ask for pages, and to parse takes ten times as long as to fill in.
var parsed = sync.OnceValues(parse) //nolint:gochecknoglobals // what is embedded is the same for every page of the process

func parse() (map[string]*template.Template, error) {
	files, err := fs.Glob(texts, "templates/*.html")
	if err != nil {
		return nil, err
	}
	all := make(map[string]*template.Template)
	for _, file := range files {
		one, err := template.New("layout.html").Funcs(template.FuncMap{"address": address}).
			ParseFS(texts, "templates/layout.html", "templates/parts.html", file)
		if err != nil {
			return nil, err
		}
		all[strings.TrimSuffix(path.Base(file), ".html")] = one
	}
	return all, nil
}

// Base returns the path of an issuer, without a slash at its end: it goes before every path of this server in a page or
// redirect. Most issuers have none.
func Base(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.EscapedPath(), "/")
}

// anyHTTPS lets a form lead on to every https origin. AZ-16 names the origin of the redirect URI alone, but Chromium checks
// form-action against each hop that follows the form: a callback that answers with a redirect of its own, to the app's start
// page on another host, would strand the person on the page that she has just answered.
const anyHTTPS = "https:"

// SetHeaders sets the security headers of a page or of a redirect between pages (AZ-16). sources are CSP sources that forms
// may lead to besides this server; where there is one, what it redirects to over https may follow.
func SetHeaders(h http.Header, sources ...string) {
	actions := []string{"'self'"}
	for _, s := range sources {
		// A source is made from a checked redirect URI; what could end the directive is still no source.
		if s != "" && !strings.ContainsAny(s, " ;,'\"\r\n\t") {
			actions = append(actions, s)
		}
	}
	if len(actions) > 1 && !slices.Contains(actions, anyHTTPS) {
		actions = append(actions, anyHTTPS)
	}
	action := strings.Join(actions, " ")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action "+action+
		"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

// Redirect answers 303 with the headers of a page (AZ-17). The location is a path of this server or an address that the caller
// has checked.
func Redirect(w http.ResponseWriter, location string) {
	SetHeaders(w.Header())
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}

// Assets serves the style sheet and the icon, below [AssetsPrefix].
func Assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Base(r.URL.Path)
		body, err := fs.ReadFile(assets, "assets/"+name)
		if err != nil {
			base, _, _ := strings.Cut(r.URL.Path, AssetsPrefix)
			Render(w, r, Page{Status: http.StatusNotFound, Base: base, Body: ErrorPage{
				Title: "There is no such page", Text: "There is nothing at this address.",
			}})
			return
		}
		types := map[string]string{".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
		SetHeaders(w.Header())
		w.Header().Set("Content-Type", types[name[strings.LastIndexByte(name, '.'):]])
		w.Header().Set("Cache-Control", "public, max-age=300")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	})
}

// address lets a template lead to an address of any scheme that a client may have registered: html/template knows web
// addresses only. Schemes that run or show something in place are never let through (REG-7).
func address(text string) template.URL {
	u, err := url.Parse(text)
	if err != nil || slices.Contains(deniedSchemes(), strings.ToLower(u.Scheme)) {
		return "#"
	}
	return template.URL(text) //nolint:gosec // the scheme is checked, and the template still escapes the attribute
}

func deniedSchemes() []string {
	return []string{"", "javascript", "data", "file", "blob", "about", "vbscript", "view-source", "ftp", "ws", "wss", "intent"}
}
