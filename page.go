package hostler

// Page asks for one page of a listing in keyset order: the cursor names the last item
// of the previous page, so that items which are created or deleted meanwhile neither
// repeat nor hide others.
type Page struct {
	Cursor string // List.Next of the previous page; "" for the first
	Limit  int    // 1 to 1,000; 0 means 100
}

// List is one page of a listing.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"cursor of the next page; absent on the last"`
}
