// Elements, built from texts only: nothing that comes from outside is ever read as markup.

const SVG = 'http://www.w3.org/2000/svg'

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else node.setAttribute(name, value === true ? '' : value)
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false))
  return node
}

export const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children)

export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children)

export const byId = (id) => document.getElementById(id)

/** Sets a text only if it is another one, so that nothing is drawn or read out twice. */
export function say(node, text) {
  const wanted = String(text)
  if (node.textContent !== wanted) node.textContent = wanted
}

export function show(node, isShown) {
  if (node.hidden === isShown) node.hidden = !isShown
}

/**
 * Keeps the children of `list` in step with `items`: one for each key, made once and then refreshed in its place. What has
 * the focus, and what is being pressed, stays the same element.
 */
export function keep(list, items, keyOf, make, refresh) {
  const rows = (list.keptRows ??= new Map())
  const focused = document.activeElement
  const wanted = new Set(items.map(keyOf))
  // First what goes, so that nothing is moved only because of that.
  for (const [key, row] of rows) {
    if (wanted.has(key)) continue
    rows.delete(key)
    row.remove()
  }
  let place = list.firstElementChild
  for (const item of items) {
    const key = keyOf(item)
    let row = rows.get(key)
    if (!row) {
      row = make(item)
      rows.set(key, row)
    }
    refresh(row, item)
    if (row === place) place = place.nextElementSibling
    else list.insertBefore(row, place)
  }
  // A row that is moved loses the focus.
  if (focused !== document.activeElement && list.contains(focused)) focused.focus({ preventScroll: true })
}

function alike(node, wanted) {
  for (const { name } of Array.from(node.attributes)) if (name !== 'open' && !wanted.hasAttribute(name)) node.removeAttribute(name)
  for (const { name, value } of wanted.attributes) {
    if (node.getAttribute(name) === value) continue
    // The page's policy forbids the attribute, but not what it stands for.
    if (name === 'style') node.style.cssText = value
    else node.setAttribute(name, value)
  }
}

/**
 * Makes the children of `node` like `wanted`, piece by piece. What is as it was stays the same element, with its focus, with
 * what is selected in it, as far as it is scrolled, and open if it was opened. For pieces without listeners.
 */
export function become(node, wanted) {
  wanted.forEach((fresh, place) => {
    const old = node.childNodes[place]
    if (!old) node.append(fresh)
    else if (old.nodeName !== fresh.nodeName) old.replaceWith(fresh)
    else if (fresh.nodeType === Node.TEXT_NODE) say(old, fresh.data)
    else {
      alike(old, fresh)
      become(old, Array.from(fresh.childNodes))
    }
  })
  while (node.childNodes.length > wanted.length) node.lastChild.remove()
}

/** Takes an element away from who has the focus on it; `heir` gets it, for else it would be left to nothing. */
export function giveUp(node, heir, take) {
  const hadFocus = document.activeElement === node
  take()
  if (hadFocus) heir()?.focus()
}

/** One of an element's parts, by the name in `data-part`. */
export const part = (node, name) => (node.partsKnown ??= Object.fromEntries(
  Array.from(node.querySelectorAll('[data-part]'), (child) => [child.dataset.part, child])))[name]

/** A name that comes from outside, kept apart from the writing around it. */
export const bdi = (text, attributes) => el('bdi', attributes, text)

/** Where the page of an upload is. */
export const hrefOf = (id) => `#/upload/${encodeURIComponent(id)}`

/** A table of names and values; without those that have no value. */
export const facts = (pairs) => el('dl', { class: 'facts' }, pairs.filter(([, value]) => value !== null && value !== undefined)
  .map(([name, value]) => el('div', null, el('dt', null, name), el('dd', null, value))))

/** A bar that is filled to a part of it, with a mark where it has been. */
export function bar(label) {
  const fillBox = el('span', { class: 'bar-fill' })
  const peak = el('span', { class: 'bar-peak', hidden: true })
  const node = el('span', { class: 'bar', role: 'img', 'aria-label': label }, fillBox, peak)
  node.set = (value, most, high, words) => {
    const share = (of) => `${Math.min(100, (most > 0 ? of / most : 0) * 100).toFixed(2)}%`
    fillBox.style.inlineSize = share(value)
    peak.hidden = !high
    if (high) peak.style.insetInlineStart = share(high)
    node.classList.toggle('is-high', most > 0 && value / most >= 0.8)
    if (words) node.setAttribute('aria-label', `${label}: ${words}`)
  }
  return node
}
