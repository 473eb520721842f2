"""Folds over one night's trace events: an HTML page, a timeline for trace viewers, JUnit XML.

`night` holds the values that a caller fills in; `history` folds the events into what lasted;
`figures` writes numbers for people. `swimlane` and `heat_map` lay out the two pictures that are
drawn here, `charts` writes the specifications of those that Vega-Lite draws, and `page` puts all
of it into one file. `timeline` and `junit` serve other tools.

What a report promises:

- It is a function of the night: the same night gives the same bytes.
- The page is one file that asks nothing of any network. Its Content-Security-Policy forbids that,
  and forbids evaluating text as code; Vega therefore runs with its expression interpreter.
- Text from outside (a machine's name, an error's cause) is text. Templates escape it, data reaches
  scripts as JSON with every `<` escaped, and no script writes markup.
- The verdict, the pictures drawn here and all tables need no script. Scripts add zoom, tooltips,
  filters and the Vega charts.
- Nothing is told by colour alone, and each picture has its numbers in a table.

The swimlane is drawn here rather than by Vega: its marks are rows of HTML that exist without a
script, and zooming moves them without a second layout of several thousand marks.

Reporting reads `model` and `trace` only. It never judges: verdicts come with the night.
"""
