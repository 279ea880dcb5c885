package sql

import (
	"archive/zip"
	"bufio"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// rowWriter writes rows of values that plain returns.
type rowWriter interface {
	header(columns []string) error
	row(values []any) error
	close() error
}

var formats = map[string]struct {
	mediaType string
	writer    func(io.Writer) rowWriter
}{
	"csv":   {"text/csv", func(w io.Writer) rowWriter { return &csvWriter{w: csv.NewWriter(w)} }},
	"jsonl": {"application/x-ndjson", func(w io.Writer) rowWriter { return &jsonWriter{w: bufio.NewWriter(w)} }},
	"xlsx":  {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", func(w io.Writer) rowWriter { return &sheetWriter{zip: zip.NewWriter(w)} }},
}

// plain returns a value of a driver as JSON has it: nil, a bool, a number or a string.
// Bytes that are no text are in base 64.
func plain(v any) any {
	switch v := v.(type) {
	case nil, bool, int64, float64, string:
		return v
	case []byte:
		if utf8.Valid(v) {
			return string(v)
		}
		return base64.StdEncoding.EncodeToString(v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}

func sizeOf(v any) int {
	switch v := v.(type) {
	case string:
		return len(v) + 16
	case []byte:
		return len(v) + 24
	}
	return 16
}

// number matches what a spreadsheet may read as a number, not as a formula.
var number = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// cell is a value as text. What a spreadsheet would run as a formula begins with an
// apostrophe.
func cell(v any) string {
	if v == nil {
		return ""
	}
	s := fmt.Sprint(v)
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) && !number.MatchString(s) {
		return "'" + s
	}
	return s
}

type csvWriter struct{ w *csv.Writer }

func (c *csvWriter) header(columns []string) error {
	return c.write(columns, func(s string) any { return s })
}

func (c *csvWriter) row(values []any) error {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = cell(v)
	}
	return c.w.Write(texts)
}

func (c *csvWriter) write(texts []string, value func(string) any) error {
	values := make([]any, len(texts))
	for i, s := range texts {
		values[i] = value(s)
	}
	return c.row(values)
}

func (c *csvWriter) close() error {
	c.w.Flush()
	return c.w.Error()
}

// jsonWriter writes an object per line, with the columns in their order.
type jsonWriter struct {
	w     *bufio.Writer
	names [][]byte
}

func (j *jsonWriter) header(columns []string) error {
	for _, c := range columns {
		name, err := json.Marshal(c)
		if err != nil {
			return err
		}
		j.names = append(j.names, name)
	}
	return nil
}

func (j *jsonWriter) row(values []any) error {
	_ = j.w.WriteByte('{') // a bufio.Writer keeps its error until Flush
	for i, v := range values {
		if i > 0 {
			_ = j.w.WriteByte(',')
		}
		b, err := json.Marshal(v)
		if err != nil {
			b, err = json.Marshal(fmt.Sprint(v)) // NaN
		}
		if err != nil {
			return err
		}
		_, _ = j.w.Write(j.names[i])
		_ = j.w.WriteByte(':')
		_, _ = j.w.Write(b)
	}
	_, err := j.w.WriteString("}\n")
	return err
}

func (j *jsonWriter) close() error { return j.w.Flush() }

// sheetWriter writes a workbook of one sheet as a stream (ECMA-376). Texts are in the cells,
// so that nothing is kept in memory; a text in a cell is never a formula.
type sheetWriter struct {
	zip   *zip.Writer
	sheet *bufio.Writer
}

// sheetParts are the parts of a workbook besides its sheet.
var sheetParts = [][2]string{
	{"[Content_Types].xml", `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">` +
		`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` +
		`<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>` +
		`<Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>`},
	{"_rels/.rels", `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` +
		`<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>`},
	{"xl/workbook.xml", `<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" ` +
		`xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>`},
	{"xl/_rels/workbook.xml.rels", `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` +
		`<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`},
}

func (s *sheetWriter) header(columns []string) error {
	for _, part := range sheetParts {
		w, err := s.zip.Create(part[0])
		if err == nil {
			_, err = io.WriteString(w, xml.Header+part[1])
		}
		if err != nil {
			return err
		}
	}
	w, err := s.zip.Create("xl/worksheets/sheet1.xml")
	if err != nil {
		return err
	}
	s.sheet = bufio.NewWriter(w)
	_, _ = s.sheet.WriteString(xml.Header + `<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>`)
	values := make([]any, len(columns))
	for i, c := range columns {
		values[i] = c
	}
	return s.row(values)
}

func (s *sheetWriter) row(values []any) error {
	_, _ = s.sheet.WriteString("<row>") // a bufio.Writer keeps its error until Flush
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			_, _ = s.sheet.WriteString("<c/>")
		case int64, float64:
			_, _ = fmt.Fprintf(s.sheet, "<c><v>%v</v></c>", v)
		default:
			_, _ = s.sheet.WriteString(`<c t="inlineStr"><is><t xml:space="preserve">`)
			_ = xml.EscapeText(s.sheet, []byte(fmt.Sprint(v))) // what XML cannot have is replaced
			_, _ = s.sheet.WriteString("</t></is></c>")
		}
	}
	_, err := s.sheet.WriteString("</row>")
	return err
}

func (s *sheetWriter) close() error {
	_, _ = s.sheet.WriteString("</sheetData></worksheet>")
	if err := s.sheet.Flush(); err != nil {
		return err
	}
	return s.zip.Close()
}
