"""A confusion matrix as a small SVG."""


def confusion_svg(count, labels, title):
    """count[truth, answer]: share of each row as shade, numbers where there are any."""
    cell, left, top = 34, 60, 52
    side = cell * len(labels)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + side + 10} {top + side + 10}" font-family="sans-serif" font-size="11">',
           f'<rect width="100%" height="100%" fill="#fff"/><text x="{left}" y="16" font-size="13">{escape(title)}</text>',
           f'<text x="{left}" y="32" fill="#555">row: truth, column: answer</text>']
    for i, label in enumerate(labels):
        mid = cell * i + cell / 2 + 4
        out.append(f'<text x="{left - 6}" y="{top + mid:g}" text-anchor="end">{escape(label)}</text>')
        out.append(f'<text x="{left + mid - 4:g}" y="{top - 5}" text-anchor="middle">{escape(label)}</text>')
        total = max(1, count[i].sum())
        for j in range(len(labels)):
            share = count[i, j] / total
            strong = share ** 0.5  # so that few errors can be seen
            rgb = [round(255 - strong * (255 - c)) for c in ((31, 119, 180) if i == j else (214, 39, 40))]
            out.append(f'<rect x="{left + cell * j}" y="{top + cell * i}" width="{cell - 1}" height="{cell - 1}" fill="rgb({rgb[0]},{rgb[1]},{rgb[2]})"/>')
            if count[i, j]:
                out.append(f'<text x="{left + cell * j + cell / 2 - 0.5:g}" y="{top + mid:g}" text-anchor="middle" '
                           f'fill="{"#fff" if strong > 0.6 else "#000"}">{count[i, j]}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def escape(s):
    return s.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
