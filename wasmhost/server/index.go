package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// place is something that a visitor of the root may look for.
type place struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

var places = []place{
	{"/v1/tenants/default/modules", "the modules of the tenant \"default\""},
	{"/v1/tenants/default/actions", "everything that it can run"},
	{"/openapi.json", "the API, as an OpenAPI 3.1 document"},
	{"/genkit-wasm.d.ts", "the types of what scripts find, for editors"},
	{"/healthz", "is the process alive?"},
	{"/readyz", "should requests be sent here?"},
}

// index answers requests for the server's address: {"name": "genkit-wasm", "links":
// [{"path", "text"}, …]}, or the same as a page where HTML is accepted.
func (s *Server) index(c echo.Context) error {
	places := places
	if s.config.Tenants != nil {
		places = append(slices.Clip(places), place{tenantsPath, "the tenants"})
	}
	c.Response().Header().Add("Vary", "Accept")
	if !strings.Contains(c.Request().Header.Get("Accept"), "text/html") {
		return writeJSON(c, http.StatusOK, struct {
			Name  string  `json:"name"`
			Links []place `json:"links"`
		}{"genkit-wasm", places})
	}
	var page strings.Builder
	page.WriteString("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>genkit-wasm</title>\n" +
		"<h1>genkit-wasm</h1>\n<p>This server runs WebAssembly tools, and the models that call them.</p>\n<ul>\n")
	for _, p := range places {
		page.WriteString("<li><a href=\"" + p.Path + "\">" + p.Path + "</a>: " + p.Text + "</li>\n")
	}
	page.WriteString("</ul>\n</html>\n")
	return c.HTML(http.StatusOK, page.String())
}
