// SPDX-License-Identifier: Apache-2.0

package pages

func (p LoginPage) view() view {
	v := view{template: "login", title: "Log in", data: p}
	if p.Destination != nil {
		v.action = p.Destination.FormAction
	}
	return v
}

func (p AwayPage) view() view {
	return view{template: "away", title: "Going to " + p.Title, data: p, refresh: p.URL}
}

func (p ConsentPage) view() view {
	return view{template: "consent", title: "Allow access", data: p, action: p.Destination.FormAction}
}

func (p ErrorPage) view() view { return view{template: "error", title: p.Title, data: p} }

func (p ButtonPage) view() view {
	return view{template: "button", title: p.Title, data: p, action: p.Destination.FormAction}
}

func (p OpenPage) view() view {
	return view{template: "open", title: "Open the app", data: p, action: p.Destination.FormAction}
}

func (p AccountPage) view() view { return view{template: "account", title: "Your apps", data: p} }

func (p NoticePage) view() view { return view{template: "notice", title: p.Title, data: p} }
