package schema

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// formats are the formats that the compiler does not know, or checks otherwise than
// their specification says; docs/schema.md lists all that are asserted.
var formats = map[string]func(string) bool{
	"email":         isEmail,        // RFC 5321, 4.1.2
	"ipv4":          isIPv4,         // RFC 2673, 3.2
	"duration":      isDuration,     // RFC 3339, appendix A
	"uri":           isURI,          // RFC 3986
	"url":           isURL,          // RFC 3986 with a host; ajv-formats
	"uri-reference": isURIReference, // RFC 3986, 4.1
	"uri-template":  isURITemplate,  // RFC 6570
	"iso-time":      isISOTime,      // time whose offset may be left out; ajv-formats
	"iso-date-time": isISODateTime,  // date-time whose offset may be left out; ajv-formats
	"byte":          isBase64,       // OpenAPI, ajv-formats
}

// regexFormat refuses patterns that no dialect of regular expressions accepts. Syntax
// that only Go lacks, such as (?=…) and \1, passes: this program does not run the
// pattern.
var regexFormat = &jsonschema.Format{Name: "regex", Validate: onText("regex", func(s string) bool {
	_, err := syntax.Parse(s, syntax.Perl)
	e, ok := errors.AsType[*syntax.Error](err)
	return err == nil || ok && (e.Code == syntax.ErrInvalidPerlOp || e.Code == syntax.ErrInvalidNamedCapture || e.Code == syntax.ErrInvalidRepeatSize ||
		e.Code == syntax.ErrInvalidEscape)
})}

func registerFormats(c *jsonschema.Compiler) {
	for name, valid := range formats {
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: onText(name, valid)})
	}
}

// onText makes a check of texts one of values: a value that is no text passes.
func onText(name string, valid func(string) bool) func(any) error {
	failed := errors.New("is no " + name)
	return func(v any) error {
		if s, ok := v.(string); ok && !valid(s) {
			return failed
		}
		return nil
	}
}

const alphaNum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > 64 || len(s) > 254 {
		return false
	}
	local, domain := s[:at], s[at+1:]
	if inner, quoted := strings.CutPrefix(local, `"`); quoted {
		if inner, quoted = strings.CutSuffix(inner, `"`); !quoted || !isQuoted(inner) {
			return false
		}
	} else {
		for atom := range strings.SplitSeq(local, ".") {
			if atom == "" || !consists(atom, alphaNum+"!#$%&'*+-/=?^_`{|}~") {
				return false
			}
		}
	}
	if literal, ok := strings.CutPrefix(domain, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		if six, tagged := strings.CutPrefix(literal, "IPv6:"); tagged {
			addr, err := netip.ParseAddr(six)
			return ok && err == nil && addr.Is6() && addr.Zone() == ""
		}
		return ok && isIPv4(literal)
	}
	return isDomain(domain)
}

// isQuoted reports whether s may stand in a quoted local part: printable, with
// backslashes before quotes and themselves.
func isQuoted(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
			if i == len(s) {
				return false
			}
		case '"':
			return false
		}
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func isDomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || !consists(label, alphaNum+"-") {
			return false
		}
	}
	return true
}

// consists reports whether s is made of chars alone.
func consists(s, chars string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(chars, r) })
}

func isIPv4(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is4()
}

var durationForm = regexp.MustCompile(`^P(\d+W|(\d+Y(\d+M(\d+D)?)?|\d+M(\d+D)?|\d+D)(T(\d+H(\d+M(\d+S)?)?|\d+M(\d+S)?|\d+S))?|T(\d+H(\d+M(\d+S)?)?|\d+M(\d+S)?|\d+S))$`)

func isDuration(s string) bool { return durationForm.MatchString(s) }

// isURIText reports whether s holds only what RFC 3986 admits, with brackets around an
// address alone and one @ at most in the authority.
func isURIText(s string) bool {
	if !consists(s, alphaNum+"-._~:/?#[]@!$&'()*+,;=%") || strings.Count(s, "#") > 1 {
		return false
	}
	before, rest, found := strings.Cut(s, "//")
	authority := ""
	if found && !strings.ContainsAny(before, "/?#") {
		end := len(rest)
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			end = i
		}
		authority = rest[:end]
		s = before + rest[end:]
	}
	return !strings.ContainsAny(s, "[]") && strings.Count(authority, "@") <= 1
}

func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && isURIText(s) && isAuthority(u)
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && u.Host != "" && isURIText(s) && isAuthority(u)
}

func isURIReference(s string) bool {
	u, err := url.Parse(s)
	return err == nil && isURIText(s) && isAuthority(u)
}

// isAuthority looks at an address in brackets, which url.Parse does not.
func isAuthority(u *url.URL) bool {
	if !strings.Contains(u.Host, "[") {
		return !strings.Contains(u.Host, "]")
	}
	name := u.Hostname()
	if strings.HasPrefix(name, "v") || strings.HasPrefix(name, "V") { // IPvFuture
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Is6()
}

var templateExpression = regexp.MustCompile(`^[+#./;?&=,!@|]?` + templateVariable + `(,` + templateVariable + `)*$`)

const templateVariable = `([A-Za-z0-9_]|%[0-9A-Fa-f]{2})(\.?([A-Za-z0-9_]|%[0-9A-Fa-f]{2}))*(:[1-9][0-9]{0,3}|\*)?`

func isURITemplate(s string) bool {
	for {
		literal, rest, found := strings.Cut(s, "{")
		if strings.ContainsFunc(literal, func(r rune) bool { return r <= ' ' || strings.ContainsRune("\"<>\\^`|}\x7f", r) }) || !isEscaped(literal) {
			return false
		}
		if !found {
			return true
		}
		expression, after, closed := strings.Cut(rest, "}")
		if !closed || !templateExpression.MatchString(expression) {
			return false
		}
		s = after
	}
}

// isEscaped reports whether each % in s begins a code of two digits.
func isEscaped(s string) bool {
	for i := strings.IndexByte(s, '%'); i >= 0; i = strings.IndexByte(s, '%') {
		if len(s) < i+3 || !consists(s[i+1:i+3], "0123456789abcdefABCDEF") {
			return false
		}
		s = s[i+3:]
	}
	return true
}

func isISOTime(s string) bool {
	for _, form := range []string{"15:04:05", "15:04:05Z07:00", "15:04:05Z0700", "15:04:05Z07"} {
		if _, err := time.Parse(form, s); err == nil {
			return true
		}
	}
	return false
}

func isISODateTime(s string) bool {
	if len(s) < 11 || !strings.ContainsRune("Tt ", rune(s[10])) {
		return false
	}
	_, err := time.Parse(time.DateOnly, s[:10])
	return err == nil && isISOTime(s[11:])
}

func isBase64(s string) bool {
	text := strings.TrimRight(s, "=")
	return len(s)%4 == 0 && len(s)-len(text) <= 2 && consists(text, alphaNum+"+/")
}
