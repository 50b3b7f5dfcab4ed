"""What a platform says that it told, against what the hub took: by deliveries, by totals of streams, record by record.

lines.py, rules.py, documents.py, report_rows.py and report_svg.py are pure; the others use the database.
"""
